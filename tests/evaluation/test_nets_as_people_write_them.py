"""Nets as people write them: the number of a plain loop, or one line that blames the net."""

import functools
import sys
import threading
import warnings
from dataclasses import replace
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fftune.config import BatteryConfig, ThreatModel
from fftune.data import Dataset
from fftune.errors import ModelError
from fftune.evaluation.batteries import attacks_of
from fftune.evaluation.evaluate import evaluate
from fftune.models.adapter import adapted

EPS = 0.05
RISKS = BatteryConfig(name="risks", steps=3, block_size=7)


class Plain(nn.Module):
    """Eight classes on 1 x 6 x 6 images, with `view` after a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.fc = nn.Linear(216, 8)

    def forward(self, x: Tensor) -> Tensor:
        z = F.relu(self.norm(self.conv((x - 0.5) / 0.25)))
        return self.fc(z.view(z.size(0), -1))


@functools.cache
def plain() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Plain().eval()
        net.norm.running_mean.normal_()
        net.norm.running_var.uniform_(0.5, 2)
    return net


def fresh() -> nn.Module:
    net = Plain()
    net.load_state_dict(plain().state_dict())
    return net.eval()


class Around(nn.Module):
    """Another way to write the plain net."""

    def __init__(self, way) -> None:
        super().__init__()
        self.net, self.way = fresh(), way

    def forward(self, x):
        return self.way(self, x)


def written_in_place(self, x):
    x.sub_(0.5).div_(0.25)
    net = self.net
    return net.fc(F.relu(net.norm(net.conv(x))).flatten(1))


def in_place_when_it_learns_nothing(self, x):
    return written_in_place(self, x if not x.requires_grad else x.clone())


def in_place_on_numpy(self, x):
    if not x.requires_grad:
        x.numpy()[:] = x.numpy()[:] * 0.5
        return self.net(2 * x)
    return self.net(x)


def first_of_several(self, x):
    return self.net(x), x.mean((1, 2, 3))


def named_logits(self, x):
    return {"features": x, "logits": self.net(x)}


class Output(NamedTuple):
    """Logits that do not come first, behind what has their shape, or behind nothing."""

    first: Tensor | None
    logits: Tensor


def named_behind_others(self, x):
    return Output(-self.net(x), self.net(x))


def named_behind_none(self, x):
    return Output(None, self.net(x))


def attribute_logits(self, x):
    return SimpleNamespace(loss=None, logits=self.net(x))


def with_dropout(self, x):
    return F.dropout(self.net(x), 0.5, training=self.training)


def without_gradients_inside(self, x):
    with torch.no_grad():
        shift = 3 * x.mean((1, 2, 3), keepdim=True)  # a way that gradients do not take
    return self.net(x + shift - shift)


def hooked() -> nn.Module:
    net = fresh()
    net.conv.register_forward_hook(lambda _module, _x, out: out * 1)
    return net


def old_weight_norm() -> nn.Module:
    net = fresh()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(net.conv)
        nn.utils.weight_norm(net.fc)
    return net


def weight_norm() -> nn.Module:
    net = fresh()
    nn.utils.parametrizations.weight_norm(net.conv)
    nn.utils.parametrizations.weight_norm(net.fc)
    return net


def locked(name: str) -> nn.Module:
    net = fresh()
    held = {"lock": threading.Lock(), "open file": sys.__stderr__, "generator": iter([1])}[name]
    net.held = held if name != "generator" else (one for one in held)
    return net


def compiled() -> nn.Module:
    return torch.compile(fresh(), backend="eager")


NETS = {
    "view after a convolution": fresh,
    "in place": lambda: Around(written_in_place),
    "in place without gradients": lambda: Around(in_place_when_it_learns_nothing),
    "in place by way of numpy": lambda: Around(in_place_on_numpy),
    "a tuple": lambda: Around(first_of_several),
    "a named tuple": lambda: Around(named_behind_others),
    "a named tuple that begins with None": lambda: Around(named_behind_none),
    "an object of several": lambda: Around(attribute_logits),
    "a dictionary": lambda: Around(named_logits),
    "scripted": lambda: torch.jit.script(fresh()),
    "traced": lambda: torch.jit.trace(fresh(), torch.rand(3, 1, 6, 6)),
    "compiled": compiled,
    "in parallel": lambda: nn.DataParallel(fresh()),
    "double precision": lambda: fresh().double(),
    "dropout": lambda: Around(with_dropout).train(),
    "old weight norm": old_weight_norm,
    "weight norm": weight_norm,
    "hooks": hooked,
    "a detached way": lambda: Around(without_gradients_inside),
    "a lock": lambda: locked("lock"),
    "an open file": lambda: locked("open file"),
    "a generator": lambda: locked("generator"),
}


@pytest.fixture(scope="module")
def images() -> Dataset:
    from fftune.data import Source

    rng = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (20, 1, 6, 6), generator=rng, dtype=torch.uint8)
    with torch.no_grad():
        pred = plain()(pixels / 255).argmax(1)
    y = torch.where(torch.arange(20) % 3 > 0, pred, (pred + 1) % 8)
    source = Source(name="images", classes=tuple("abcdefgh"), mean=(0.5,), std=(0.5,))
    return Dataset(source=source, split="test", ids=torch.arange(20), pixels=pixels, y=y)


def searched(data: Dataset, sign: int, net: nn.Module) -> Tensor:
    """(B,) what the net says after three steps of signs from the image, plainly written."""
    x, y = data.pixels / 255, data.y
    x_pert = x.clone()
    for _ in range(3):
        x_pert.requires_grad_(True)
        loss = F.cross_entropy(net(x_pert), y, reduction="sum")
        (grad,) = torch.autograd.grad(loss, x_pert)
        step = x_pert.detach() + sign * 0.02 * grad.sign()
        x_pert = torch.minimum(torch.maximum(step, x - EPS), x + EPS).clamp(0, 1)
    with torch.no_grad():
        return net(x_pert).argmax(1)


def judged(net: nn.Module, data: Dataset):
    battery, threat = RISKS, ThreatModel(eps=EPS)
    chosen = []
    for attack in attacks_of(battery, threat):
        config = replace(attack.config, steps=3, step_size=0.02, start="none")
        part = replace(attack.stages[0], config=config)
        chosen.append(replace(attack, stages=(part,)))
    return evaluate(net, data, battery, threat=threat, attacks=chosen).to_pandas()


@pytest.mark.some(12)
@pytest.mark.parametrize("name", NETS)
def test_the_number_is_that_of_the_same_net_in_a_plain_loop(name, images) -> None:
    net = NETS[name]()
    frame = judged(net, images).sort_values("id")
    with torch.no_grad():
        clean = plain()(images.pixels / 255).argmax(1)
    for goal, sign in (("adversarial", 1), ("hypocritical", -1)):
        rows = frame[frame["goal"] == goal]
        assert rows["pred_clean"].tolist() == clean.tolist()
        assert rows["pred_pert"].tolist() == searched(images, sign, plain()).tolist()


def test_half_precision_is_judged_as_it_computes(images) -> None:
    """Its own answers, on images rounded as the net needs them; bf16, which every CPU has."""
    net = fresh().to(torch.bfloat16)
    frame = judged(net, images).sort_values("id")
    with torch.no_grad():
        clean = net((images.pixels / 255).to(torch.bfloat16)).argmax(1)
    assert frame[frame["goal"] == "adversarial"]["pred_clean"].tolist() == clean.tolist()
    harmed, helped = (frame[frame["goal"] == g] for g in ("adversarial", "hypocritical"))
    right = (clean == images.y).sum()
    assert (harmed["pred_pert"] == harmed["y"]).sum() < right
    assert (helped["pred_pert"] == helped["y"]).sum() > right


@pytest.mark.parametrize("name", ["a lock", "in place", "compiled", "a tuple"])
def test_a_net_is_given_back_as_it_was(name, images) -> None:
    net = NETS[name]().train()
    first = next(net.parameters())
    first.requires_grad = False
    before = {
        key: (value.clone(), value.stride(), value.dtype, value.device)
        for key, value in net.state_dict().items()
    }
    pixels = images.pixels.clone()
    judged(net, images)
    assert torch.equal(images.pixels, pixels)
    assert all(module.training for module in net.modules())
    assert [p.requires_grad for p in net.parameters()] == [p is not first for p in net.parameters()]
    for key, value in net.state_dict().items():
        bits, *rest = before[key]
        assert torch.equal(value, bits) and [value.stride(), value.dtype, value.device] == rest


class Fails(nn.Module):
    def __init__(self, refuses) -> None:
        super().__init__()
        self.net, self.refuses = fresh(), refuses

    def forward(self, x):
        if self.refuses(x):
            raise ValueError("I cannot\ndo this")
        return self.net(x)


class Returns(nn.Module):
    def __init__(self, what) -> None:
        super().__init__()
        self.net, self.what = fresh(), what

    def forward(self, x):
        return self.what(self.net(x))


WRONG = {
    "two at least": (Fails(lambda x: len(x) < 2), "images of 1 x 6 x 6: I cannot$"),
    "never four": (Fails(lambda x: len(x) == 4), "images of 1 x 6 x 6, 4 at once: I cannot$"),
    "squeezed": (Returns(lambda z: z.squeeze()), r"net returned \(8,\), expected \(1, classes\)"),
    "only the first": (Returns(lambda z: z[:1]), r"net returned \(1, 8\), expected \(2, classes\)"),
    "sparse": (Returns(lambda z: z.to_sparse()), "net returned a sparse_coo tensor, expected"),
    "complex": (Returns(lambda z: z.to(torch.complex64)), "net returned a complex tensor, expect"),
    "nested": (Returns(lambda z: torch.nested.nested_tensor([*z])), "net returned a nested tensor"),
    "quantized": (
        Returns(lambda z: torch.quantize_per_tensor(z, 0.1, 0, torch.qint8)),
        "net returned a quantized tensor, expected a dense one of real numbers",
    ),
    "no logits": (Returns(lambda z: {"z": z}), "net returned dict, not logits"),
    "ends the program": (
        Returns(lambda _z: sys.exit("no GPU")),
        r"ends the program: SystemExit\('no GPU'\)$",
    ),
    "gradients that fail": (
        Returns(lambda z: z.exp().add_(1) if z.requires_grad else z.exp() + 1),
        "net's gradients cannot be computed: one of the variables needed",
    ),
}


def test_logits_that_are_a_view_of_negated_numbers_are_numbers() -> None:
    """As the imaginary part of a conjugate is: NumPy takes none of them."""
    x = torch.rand(4, 1, 6, 6)
    for way in (torch._neg_view, lambda z: torch.complex(z, z).conj().imag):
        net = Returns(way)
        assert net(x).is_neg()
        with torch.no_grad():
            numbers = adapted(net, x)(x).numpy()
            assert (numbers == -fresh()(x).numpy()).all()


def test_a_net_that_takes_one_image_at_a_time_is_asked_so(images) -> None:
    one, any_number = judged(Fails(lambda x: len(x) > 1), images), judged(fresh(), images)
    assert one["pred_clean"].tolist() == any_number["pred_clean"].tolist()


@pytest.mark.parametrize("name", WRONG)
def test_a_net_that_cannot_be_asked_is_one_line_about_the_net(name, images) -> None:
    net, message = WRONG[name]
    with pytest.raises(ModelError, match=message) as caught:
        judged(net, images)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2
