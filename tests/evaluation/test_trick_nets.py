"""Nets that would give a wrong number without a word, and nets as people write them.

Each is judged as a user's would be: its number is right, or a remark stands beside it, or it is
refused in one line.
"""

import copy
import logging
import threading
from dataclasses import replace

import pytest
import torch
from subjects import PGD, THREAT, Of, briefly, job_of, lined, model_under_test, rows_of
from torch import Tensor, nn

from fftune.config import BatteryConfig, ThreatModel
from fftune.errors import ModelError
from fftune.evaluation import batteries, tiers
from fftune.evaluation.batteries import risks
from fftune.evaluation.block import attack_block
from fftune.evaluation.evaluate import evaluate
from fftune.evaluation.job import try_out, under_test
from fftune.evaluation.question import remarks_of
from fftune.keyed_noise import Noise
from fftune.lint.after_attacks import remarked
from fftune.lint.questions import lint


class Stubborn(nn.Module):
    """Stays in train mode, whatever it is told."""

    def __init__(self, part: nn.Module, net: nn.Module) -> None:
        super().__init__()
        self.part, self.net = part, net

    def train(self, mode: bool = True) -> "Stubborn":
        return super().train(True)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.part(x))


class RandomBackward(torch.autograd.Function):
    @staticmethod
    def forward(_ctx, x):
        return x.clone()

    @staticmethod
    def backward(_ctx, grad):
        return torch.randn_like(grad)


def masked(net: nn.Module, x: Tensor) -> Tensor:
    seen = torch.zeros_like(x)
    seen[..., :2, :2] = 1
    return net(seen * x + (1 - seen) * x.detach())


def pushed(net: nn.Module, x: Tensor, where: Tensor) -> Tensor:
    """The same answers, and a nan in the gradient of the pixels `where`."""
    zero = (x - x).where(where.expand_as(x), torch.ones_like(x))
    return net(x + 0 * zero.sqrt())


def infinite(net: nn.Module, x: Tensor) -> Tensor:
    return net(x + (x - x).sqrt())


def corner(x: Tensor) -> Tensor:
    where = torch.zeros_like(x, dtype=torch.bool)
    where[..., 0, 0] = True
    return where


def bright(x: Tensor) -> Tensor:
    return (x.flatten(1).mean(1) > 0.5).view(-1, 1, 1, 1)


def keyed_noise(net: nn.Module, x: Tensor) -> Tensor:
    """Noise by the image: at random, and the same whenever it is asked."""
    noise = torch.sin((4 * x.detach().flatten(1).mean(1, keepdim=True)).round() * torch.arange(8))
    return net(x) + 0.1 * noise


def across(net: nn.Module, x: Tensor) -> Tensor:
    """Less the batch's mean, as of a GroupNorm over the wrong axis."""
    return net(x - x.mean(0, keepdim=True) + 0.5)


REMARKED = {
    "masked region": (masked, "misleading-gradient"),
    "masked by half": (lambda n, x: n(x) + n(x.detach().flip(-1)), "misleading-gradient"),
    "masked by an index": (
        lambda n, x: n(torch.cat([x[..., :1], x[..., 1:].detach()], -1)),
        "misleading-gradient",
    ),
    "random gradient": (lambda n, x: n(RandomBackward.apply(x)), "misleading-gradient"),
    "sign-flipped gradient": (lambda n, x: n(2 * x.detach() - x), "misleading-gradient"),
    "shattered": (lambda n, x: n(x + 1e-3 * torch.sin(1e4 * x)), "misleading-gradient"),
    "rounding, straight through": (
        lambda n, x: n(x + ((x * 16).round() / 16 - x).detach()),
        "misleading-gradient",
    ),
    "nan in a pixel": (lambda n, x: pushed(n, x, corner(x)), "nan-gradient"),
    "nan for some images": (lambda n, x: pushed(n, x, bright(x)), "nan-gradient"),
    "functional dropout": (lambda n, x: n(nn.functional.dropout(x, 0.2)), "by-chance"),
    "functional dropout of maps": (
        lambda n, x: n(x) * nn.functional.dropout2d(torch.ones(len(x), 8, 1, 1)).flatten(1),
        "by-chance",
    ),
    "noise inside": (lambda n, x: n(x + 0.05 * torch.randn_like(x)), "by-chance"),
    "noise from 0 to 1": (lambda n, x: n(x) + torch.rand(len(x), 8), "by-chance"),
    "statistics of the batch": (across, "batch-dependent"),
    "the batch's largest pixel": (lambda n, x: n(x / x.max() * (1 + x.std())), "batch-dependent"),
    "the batch's order": (
        lambda n, x: n(x) + torch.arange(len(x))[:, None] * torch.arange(8),
        "batch-dependent",
    ),
    "softmax": (lambda n, x: (10 * n(x)).softmax(1), "probabilities"),
    "softmax, cold": (lambda n, x: (n(x) / 0.01).softmax(1), "probabilities"),
    "softmax, warm": (lambda n, x: (n(x) / 5).softmax(1), "probabilities"),
    "softmax, from -1 to 1": (lambda n, x: 2 * n(x).softmax(1) - 1, "probabilities"),
    "softmax, one more": (lambda n, x: n(x).softmax(1) + 1, "probabilities"),
    "softmax in percent": (lambda n, x: 100 * n(x).softmax(1), "probabilities"),
    "flat": (lambda n, x: n(x) / 1000, "flat-logits"),
    "sigmoid": (lambda n, x: (20 * n(x)).sigmoid(), "probabilities"),
}


@pytest.mark.parametrize("share", [0.2, 0.3])
def test_gradients_that_mislead_on_some_images_only_are_remarked_on(share, toy, blobs) -> None:
    """Images are flipped by their brightness, which no step near them changes."""
    limit = (blobs.pixels / 255).flatten(1).mean(1).quantile(share)

    def some(net: nn.Module, x: Tensor) -> Tensor:
        dark = (x.detach().flatten(1).mean(1) < limit).view(-1, 1, 1, 1)
        return net(torch.where(dark, 2 * x.detach() - x, x))

    found = [
        {r.code for r in lint(Of(toy, some).eval(), blobs, threat=THREAT, noise=Noise(seed))}
        for seed in range(5)
    ]
    assert sum("misleading-gradient" in codes for codes in found) >= 4


def test_autocast_inside_a_net_is_no_fault(toy, blobs) -> None:
    def cast(net: nn.Module, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return net(x)

    assert not lined(Of(toy, cast), blobs)


@pytest.mark.some(12)
@pytest.mark.parametrize("name", REMARKED)
def test_a_trick_is_remarked_on(name, toy, blobs) -> None:
    way, code = REMARKED[name]
    assert code in lined(Of(toy, way), blobs)


SILENT = {
    "as it is": lambda n, x: n(x),
    "logits of mean zero": lambda n, x: n(x) - n(x).mean(1, keepdim=True),
    "log-probabilities": lambda n, x: n(x).log_softmax(1),
    "dropout in eval mode": lambda n, x: n(nn.functional.dropout(x, training=n.training)),
    "noise by the image": keyed_noise,
    "one image's statistics": lambda n, x: n(nn.functional.instance_norm(x) / 4 + 0.5),
    "in place": lambda n, x: n(x.sub_(0.1).add_(0.1)),
    "a view": lambda n, x: n(x.contiguous().view(len(x), 1, 6, 6)),
    "pooled twice": lambda n, x: n(nn.functional.interpolate(nn.functional.max_pool2d(x, 2), 6)),
    "smooth": lambda n, x: n(nn.functional.silu(4 * x) / 4 + nn.functional.gelu(x)),
    "clamped": lambda n, x: n(x.clamp(0, 1)),
    "in its own precision": lambda n, x: n(x.float()).float(),
}


@pytest.mark.parametrize("name", SILENT)
def test_of_nets_as_people_write_them_nothing_is_said_of_answers_or_gradients(
    name, toy, blobs
) -> None:
    said = lined(Of(toy, SILENT[name]), blobs)
    assert said.keys() <= {"no-better-than-chance"}, said


class Locked(nn.Module):
    """Holds what no copy can be made of."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.lock = net, threading.Lock()

    def forward(self, x: Tensor) -> Tensor:
        with self.lock:
            return self.net(x)


@pytest.mark.parametrize("wrap", [Locked, nn.DataParallel])
@pytest.mark.parametrize(("way", "codes"), [("as it is", []), ("masked", ["misleading-gradient"])])
def test_a_wrapped_net_is_asked_as_a_plain_one(wrap, way, codes, toy, blobs) -> None:
    """A lock cannot be copied, so that its net is asked in its own precision."""
    net = wrap(Of(toy, masked if way == "masked" else SILENT[way])).eval().requires_grad_(False)
    found = lint(net, blobs, threat=THREAT, noise=Noise(0))
    assert [remark.code for remark in found] == codes
    toy.requires_grad_(True)


@pytest.mark.slow  # the import of what compiles takes seconds
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("how", ["scripted", "compiled"])
def test_of_scripted_and_compiled_nets_nothing_is_said(how, toy, blobs) -> None:
    net = torch.jit.trace(toy, torch.zeros(2, 1, 6, 6)) if how == "scripted" else torch.compile(toy)
    assert not lint(net.eval(), blobs, threat=THREAT, noise=Noise(0))


def test_a_half_precision_net_is_heard_with_its_rounding(toy, blobs) -> None:
    half = copy.deepcopy(toy).to(torch.bfloat16)
    assert not lined(Of(half, lambda n, x: n(x.bfloat16()).float()), blobs)


@pytest.mark.parametrize(
    ("part", "code"),
    [
        (nn.BatchNorm2d(1, affine=False), "batch-dependent"),
        (nn.Dropout(0.2), "by-chance"),
    ],
)
def test_a_net_that_stays_in_train_mode_is_named(part, code, toy, blobs) -> None:
    said = lined(Stubborn(part, copy.deepcopy(toy)), blobs)
    assert "in train mode: the net itself, part" in said[code]


@pytest.mark.parametrize("track", [True, False])
def test_a_batchnorm_without_running_statistics_is_remarked_on(track, toy, blobs) -> None:
    net = nn.Sequential(nn.BatchNorm2d(1, track_running_stats=track), toy)
    assert ("batch-dependent" in lined(net, blobs)) == (not track)


def test_a_net_without_a_finite_gradient_is_refused(toy, blobs) -> None:
    """Its accuracy under attack would be its clean accuracy."""
    everywhere = Of(toy, lambda n, x: pushed(n, x, torch.ones_like(x, dtype=torch.bool)))
    for net in (everywhere, Of(toy, infinite)):
        with pytest.raises(ModelError, match="nan or infinite everywhere: pgd-2 cannot be scored"):
            evaluate(net, blobs, PGD, threat=THREAT)


def test_a_nan_stops_neither_the_other_pixels_nor_the_other_images(toy, blobs) -> None:
    """With a nan in one pixel, PGD moves the other 35 as if that one had no gradient."""

    def blocked(net: nn.Module, x: Tensor) -> Tensor:
        return net(torch.where(corner(x), x.detach(), x))

    still, nan = (
        evaluate(Of(toy, way), blobs, PGD, threat=ThreatModel(eps=0.1, norm=norm))
        for norm in ("l2",)
        for way in (blocked, lambda n, x: pushed(n, x, corner(x)))
    )
    assert nan.table["pred_pert"].equals(still.table["pred_pert"])
    assert nan.values("status") == {"some nan-gradients"}
    some = evaluate(Of(toy, lambda n, x: pushed(n, x, bright(x))), blobs, PGD, threat=THREAT)
    assert some.values("status") == {"nan-gradient", "ok"}


@pytest.mark.parametrize("size", [1, 64])
def test_a_net_of_one_size_of_batch_is_asked_in_such_batches(blobs, size) -> None:
    torch.manual_seed(0)
    fc = nn.Linear(36, 8)
    rows = [
        evaluate(net, blobs, PGD, threat=THREAT).table.select(["id", "attack", "pred_pert"])
        for net in (
            nn.Sequential(Of(nn.Identity(), lambda _, x, size=size: x.reshape(size, 36)), fc),
            nn.Sequential(nn.Flatten(), fc),
        )
    ]
    assert rows[0].equals(rows[1])


def test_a_net_that_takes_no_batch_is_refused_in_one_line(blobs) -> None:
    class Fixed(nn.Module):
        def __init__(self, size: int) -> None:
            super().__init__()
            self.size, self.fc = size, nn.Linear(36, 8)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x.reshape(self.size, 36))

    for size, message in ((7, "net does not take images of 1 x 6 x 6: "),):
        with pytest.raises(ModelError, match=f"^{message}") as caught:
            try_out(
                model_under_test(Fixed(size), blobs), job_of(Fixed(size), blobs, PGD, threat=THREAT)
            )
        assert "\n" not in str(caught.value)


def test_a_net_that_cannot_be_differentiated_is_refused_in_one_line(toy, blobs) -> None:
    class NoBackward(torch.autograd.Function):
        @staticmethod
        def forward(_ctx, x):
            return x.clone()

    net = Of(toy, lambda n, x: n(NoBackward.apply(x)))
    with pytest.raises(ModelError, match="^net's gradients cannot be computed: ") as caught:
        evaluate(net, blobs, PGD, threat=THREAT)
    assert "\n" not in str(caught.value)


@pytest.fixture
def short(monkeypatch):
    """Ensembles and canary in a few steps."""
    for name, searches in tiers.TIERS.items():
        monkeypatch.setitem(tiers.TIERS, name, briefly(searches, apgd=2, fab=2, square=150))
    brief = briefly(tiers.CANARY_SEARCHES, fab=1, square=2)
    monkeypatch.setattr(batteries, "CANARY_SEARCHES", brief)


def test_where_gradients_mislead_square_is_let_at_every_survivor(short, toy, blobs, caplog) -> None:
    """Flipped, they climb the wrong way; only queries find what the true net shows."""
    caplog.set_level(logging.WARNING)
    battery = BatteryConfig(name="ensemble", block_size=50)
    net = Of(toy, REMARKED["sign-flipped gradient"][0])
    found = evaluate(net, blobs, battery, threat=ThreatModel(eps=0.2))
    assert found.values("attack") == {"autoattack"} and found.values("tier") == {"full"}
    assert len(found.where(success=True)) > 60
    assert "tier full: remark misleading-gradient" in caplog.text


@pytest.mark.parametrize("way", ["zero", "nan"])
def test_where_gradients_fail_on_few_images_the_whole_set_is_searched_at_length(
    way, short, toy, blobs
) -> None:
    """The lint, which looks at few, has seen nothing, and the canary finds nothing."""

    def dimmed(net: nn.Module, x: Tensor) -> Tensor:
        if way == "nan":
            return pushed(net, x, rare(x))
        return torch.where(rare(x).view(-1, 1), net(x).detach() + 0 * net(x), net(x))

    def rare(x: Tensor) -> Tensor:
        return (x.flatten(1).mean(1) > 0.57).view(-1, 1, 1, 1)

    net, battery = Of(toy, dimmed), BatteryConfig(name="ensemble", block_size=100)
    question = job_of(net, blobs, battery, threat=ThreatModel(eps=1e-5))
    with under_test(net, question) as subject:
        found = rows_of(subject, question)
    assert not len(found.where(attack="canary", success=True))
    assert found.where(attack="autoattack").values("tier") == {"full"}


def test_statuses_are_of_all_gradients_of_an_example(toy, blobs) -> None:
    """An image whose gradient is zero once, and then is not, has nothing remarked."""
    calls = []

    def first_flat(net: nn.Module, x: Tensor) -> Tensor:
        if not x.requires_grad:
            return net(x)
        calls.append(len(x))
        return net(x) * (0 if len(calls) == 1 else 1) + net(x).detach() * (len(calls) == 1)

    subject = model_under_test(toy, blobs)
    object.__setattr__(subject, "surrogate", Of(toy, first_flat))
    (attack, _) = risks(THREAT, 3)
    block = next(blobs.batches(20))
    found = attack_block(subject, block, attack, noise=job_of(toy, blobs, PGD, threat=THREAT).noise)
    assert len(calls) >= 3 and set(found["status"].to_pylist()) == {"ok"}


@pytest.mark.parametrize(("way", "code"), [("nan", "nan-gradient"), ("zero", "zero-gradient")])
def test_gradients_that_fail_on_few_images_are_counted_in_a_remark(
    way, code, toy, blobs, caplog
) -> None:
    """The lint looks at 12 images, the rows know of all."""
    bright = (blobs.pixels / 255).flatten(1).mean(1)
    limit = float(bright.quantile(0.9))

    def rare(x: Tensor) -> Tensor:
        return (x.detach().flatten(1).mean(1) > limit).view(-1, 1, 1, 1)

    def failing(net: nn.Module, x: Tensor) -> Tensor:
        if way == "nan":
            return pushed(net, x, rare(x))
        return torch.where(rare(x).view(-1, 1), net(x).detach() + 0 * net(x), net(x))

    tiny = ThreatModel(eps=1e-6)
    found = evaluate(Of(toy, failing), blobs, PGD, threat=tiny)
    (told,) = (r for r in remarks_of(found) if r.startswith(code))
    assert told.startswith(f"{code}: ") and told in caplog.text
    assert remarked(found, ())[0].startswith(f"{code}: 10 of 100 examples: ")
    assert remarked(found, (f"{code}: said",)) == (f"{code}: said",)
    assert not remarked(evaluate(toy, blobs, PGD, threat=tiny), ())


def test_a_net_that_looks_at_its_neighbours_in_large_batches_alone_is_noticed(toy, blobs) -> None:
    def way(net: nn.Module, x: Tensor) -> Tensor:
        return net(x) if len(x) < 64 else net(x - x.mean(0) + 0.5)

    assert len(blobs) >= 64
    outcomes = evaluate(Of(toy, way), blobs, PGD, threat=THREAT)
    assert any(line.startswith("batch-dependent: ") for line in remarks_of(outcomes))


@pytest.mark.parametrize("calls", [25, 150])
def test_a_net_that_becomes_another_as_it_is_asked_is_noticed(calls, toy, blobs) -> None:
    """While the lint looks at it, or after."""

    class Turning(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.count = toy, 0

        def forward(self, x: Tensor) -> Tensor:
            self.count += 1
            return self.net(x) if self.count < calls else self.net(x).flip(1)

        def __deepcopy__(self, _memo) -> nn.Module:
            raise TypeError("searches are to ask this very net")

    steps = replace(PGD, steps=60)
    outcomes = evaluate(Turning(), blobs, steps, threat=THREAT)
    assert any(line.startswith("by-chance: ") for line in remarks_of(outcomes))
