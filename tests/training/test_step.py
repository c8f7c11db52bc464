"""One step of every objective against a plain loop, in float64, where folding is invisible."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fftune.config import AttackConfig, InputSpec, ThreatModel, TrainConfig
from fftune.keyed_noise import Noise
from fftune.models import eval_mode, fold, make_model
from fftune.models.linf_training import LinfDistTraining
from fftune.objectives import objective_of
from fftune.training.crafting_net import CraftingNet
from fftune.training.step import Stepper, loss_of
from tests.training.plain_step import plain_step
from tests.training.tinies import tiny

INPUTS = InputSpec(shape=(2, 4, 4), classes=3, mean=(0.5,) * 2, std=(0.3,) * 2)
OBJECTIVES = [
    ("standard", 0.0),
    ("standard", 2.0),
    ("pgd_at", 0.0),
    ("fast_at", 0.0),
    ("trades", 0.0),
    ("trades", 3.0),
    ("thrm", 0.0),
    ("thrm", 3.0),
]


class Moody(nn.Module):
    """Answers of one batch in train mode, of statistics far from it in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.last = nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.conv(x)).tanh().flatten(1))


def moody() -> Moody:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = Moody().double()
        nn.init.normal_(net.norm.weight, 1, 1)
        nn.init.normal_(net.last.weight, 0, 0.5)
        net.norm.running_mean.copy_(torch.tensor([0.5, -0.5, 1.0, -1.0]))
        net.norm.running_var.copy_(torch.tensor([0.1, 2.0, 0.5, 0.02]))
    return net.train()


def folded_copy(net: nn.Module) -> CraftingNet:
    with eval_mode(net):
        folded = fold(net, torch.rand(2, 2, 4, 4, dtype=torch.float64))
    assert folded is not None
    return CraftingNet(source=net, asked=folded.net, copied=folded.net, norms=folded.norms)


class Averaging(nn.Module):
    """Stands for DistributedDataParallel; says which calls of the net would exchange gradients."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.apart, self.calls = net, False, []
        net.last.bias.register_hook(lambda _: self.calls.append(("backward", self.apart)))

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append(("forward", self.apart))
        return self.net(x)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        self.apart = True
        yield
        self.apart = False


def batch_of(count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Ids in no order, images, labels."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.rand(count, 2, 4, 4, generator=rng, dtype=torch.float64)
    return 100 + torch.randperm(count, generator=rng), x, torch.randint(3, (count,), generator=rng)


def config_of(objective, lam: float = 0.0, *, accumulate: int = 1, **attack) -> TrainConfig:
    config = tiny(objective, lam=lam)
    threat = ThreatModel(eps=0.1)
    return replace(
        config,
        attack=AttackConfig(threat=threat, **{"steps": 3, "step_size": 0.04, **attack}),
        optimizer=replace(config.optimizer, accumulate=accumulate),
    )


def stepper_of(config: TrainConfig, net: nn.Module, **settings) -> Stepper:
    known = {"wrapped": net, "loss": loss_of(config), "processes": 1, "device": "cpu"}
    known["crafting"] = objective_of(config).crafting
    return Stepper(config=config, model=net, **{**known, **settings})


def gradient(net: nn.Module) -> Tensor:
    grads = [p.grad for p in net.parameters()]
    return torch.cat([g.flatten() for g in grads if g is not None])


def assert_same_step(net: nn.Module, plain: nn.Module) -> None:
    """Equal gradients; equal statistics, which only a forward in train mode may move."""
    torch.testing.assert_close(gradient(net), gradient(plain), rtol=1e-7, atol=1e-9)
    for mine, theirs in zip(net.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs)


SEARCH = {"eps": 0.1, "length": 0.04, "steps": 3}


@pytest.mark.some(24)
@pytest.mark.parametrize(("objective", "lam"), OBJECTIVES)
@pytest.mark.parametrize("is_folded", [False, True])
@pytest.mark.parametrize(
    ("accumulate", "cuts"), [(1, [9]), (4, [3, 3, 3]), (2, [5, 4]), (50, [1] * 9)]
)
def test_a_step_is_that_of_a_plain_loop(objective, lam, is_folded, accumulate, cuts) -> None:
    """Nine examples of twelve, the rest is padding; twenty over all processes, of which two.

    The net has moved since it was folded, and is in train mode before and after.
    """
    config = config_of(objective, lam, accumulate=accumulate)
    net, noise = moody(), Noise(0).fold("epoch", 1)
    folded = folded_copy(net) if is_folded else None
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(0.5)
    plain = copy.deepcopy(net)
    asked: list[int] = []
    net.register_forward_pre_hook(lambda *_: asked.append(1))
    stepper = stepper_of(config, net, crafted_on=folded, processes=2, wrapped=Averaging(net))
    total, right = stepper(batch_of(12), real=9, examples=20, noise=noise)
    ids, x, y = (column[:9] for column in batch_of(12))
    expected = plain_step(
        plain,
        (ids, x, y),
        objective=objective,
        lam=lam,
        cuts=cuts,
        weight=2 / 20,
        noise=noise,
        **SEARCH,
    )
    assert (float(total), int(right)) == (pytest.approx(expected[0], rel=1e-6), expected[1])
    assert not total.requires_grad
    if is_folded:
        assert len(asked) == len(cuts)  # once a part: searches ask the copy alone
    assert_same_step(net, plain)
    assert all(module.training for module in net.modules())
    assert x.equal(batch_of(12)[1][:9])


@pytest.mark.parametrize("objective", ["pgd_at", "thrm"])
def test_another_search_is_taken_as_configured(objective) -> None:
    """FGSM: one step of eps from x itself, whatever length and start say."""
    net = moody()
    plain = copy.deepcopy(net)
    ids, x, y = batch_of(6)
    stepper = stepper_of(config_of(objective, 2.0, search="fgsm"), net)
    stepper((ids, x, y), real=6, examples=6, noise=Noise(0))
    search = {"eps": 0.1, "length": 0.1, "steps": 1, "noise": None}
    plain_step(plain, (ids, x, y), objective=objective, lam=2.0, cuts=[6], weight=1 / 6, **search)
    assert_same_step(net, plain)


def test_every_step_attacks_the_net_as_it_is_now() -> None:
    """Three steps of SGD, each with a batch of its own: weights and statistics stay equal."""
    config, net = config_of("thrm", 3.0), moody()
    plain = copy.deepcopy(net)
    stepper = stepper_of(config, net, crafted_on=folded_copy(net))
    ours, theirs = (torch.optim.SGD(n.parameters(), 0.5) for n in (net, plain))
    for seed in range(3):
        noise = Noise(seed)
        for optimizer in (ours, theirs):
            optimizer.zero_grad()
        stepper(batch_of(8, seed), real=8, examples=8, noise=noise)
        plain_step(
            plain,
            batch_of(8, seed),
            objective="thrm",
            lam=3.0,
            cuts=[8],
            weight=1 / 8,
            noise=noise,
            **SEARCH,
        )
        assert_same_step(net, plain)
        for optimizer in (ours, theirs):
            optimizer.step()


@pytest.mark.parametrize("objective", ["standard", "pgd_at", "thrm"])
@pytest.mark.parametrize("real", [1, 4, 7])
def test_two_processes_average_to_the_gradient_of_one(objective, real) -> None:
    """Shares of unequal size, padded to one length; a net without BatchNorm, which sees all."""
    config, noise = config_of(objective, 2.0), Noise(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(32, 3)).double()
    batch = batch_of(8)
    found = []
    for share in (slice(0, real), slice(real, 8)):
        shared = copy.deepcopy(net)
        mine = tuple(column[share] for column in batch)
        padded = tuple(F.pad(c, [0] * (2 * c.dim() - 1) + [8 - len(c)], value=0) for c in mine)
        stepper = stepper_of(config, shared, processes=2)
        found.append((*stepper(padded, real=len(mine[0]), examples=8, noise=noise), shared))
    plain = copy.deepcopy(net)
    total, right = plain_step(
        plain, batch, objective=objective, lam=2.0, cuts=[8], weight=1 / 8, noise=noise, **SEARCH
    )
    (a, b) = found
    assert float(a[0] + b[0]) == pytest.approx(total, rel=1e-6)
    assert int(a[1] + b[1]) == right
    torch.testing.assert_close((gradient(a[2]) + gradient(b[2])) / 2, gradient(plain))


@pytest.mark.parametrize("accumulate", [1, 4])
def test_a_process_with_nothing_but_padding_takes_part_without_weight(accumulate: int) -> None:
    """All processes must meet in the backward pass: one row goes through the net, and counts 0."""
    net = moody()
    wrapped = Averaging(net)
    config = config_of("thrm", 2.0, accumulate=accumulate)
    stepper = stepper_of(config, net, processes=2, wrapped=wrapped)
    total, right = stepper(batch_of(8), real=0, examples=8, noise=Noise(0))
    assert (float(total), int(right)) == (0, 0)
    assert wrapped.calls == [("forward", False), ("backward", False)]
    assert not gradient(net).any()


@pytest.mark.parametrize(
    ("processes", "accumulate", "apart"),
    [
        (2, 1, [False]),
        (2, 3, [True, True, False]),
        (2, 8, [True] * 7 + [False]),
        (1, 2, [False, False]),
    ],
)
def test_gradients_are_exchanged_once_with_the_last_part(processes, accumulate, apart) -> None:
    """The forward pass decides as well as the backward pass; alone, nothing is to be kept apart."""
    net = moody()
    wrapped = Averaging(net)
    config = config_of("pgd_at", accumulate=accumulate)
    stepper = stepper_of(config, net, processes=processes, wrapped=wrapped)
    stepper(batch_of(8), real=8, examples=8, noise=Noise(0))
    assert wrapped.calls == [(call, at) for at in apart for call in ("forward", "backward")]
    assert not wrapped.apart


def test_the_hinge_is_the_recipes_on_the_clean_batch() -> None:
    """Zhang et al. 2021: .75 of the worst hinge and .25 of the mean over all classes."""
    config = config_of("linf_dist")
    net = make_model("linf_dist", INPUTS, width=6).double()
    distance = LinfDistTraining.of(net, config, steps=10)
    plain = copy.deepcopy(net)
    batch = batch_of(5)
    stepper = stepper_of(config, net, loss=distance.loss)
    total, right = stepper(batch, real=5, examples=5, noise=Noise(0))
    logits, losses = plain(batch[1]), []
    for z, y in zip(logits, batch[2].tolist(), strict=True):
        threshold = 2 * 0.1568 / 0.2009
        hinges = [(z[j] - z[y] + threshold).clamp_min(0) for j in range(3) if j != y]
        losses.append(0.75 * max(hinges) + 0.25 * sum(hinges) / 3)
    (sum(losses) / 5).backward()
    assert float(total) == pytest.approx(float(sum(losses).detach()), rel=1e-6)
    assert int(right) == int((logits.argmax(1) == batch[2]).sum())
    torch.testing.assert_close(gradient(net), gradient(plain), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_step_is_in_its_precision_and_channels_last(precision) -> None:
    """bf16 products; what is summed and stepped stays fp32. The net itself is asked in fp32."""
    seen = []
    net = moody().float()
    net.last.register_forward_hook(lambda *args: seen.append(args[-1].dtype))
    places = []
    net.register_forward_pre_hook(
        lambda _, args: places.append(args[0].is_contiguous(memory_format=torch.channels_last))
    )
    config = replace(config_of("thrm", 2.0), precision=precision)
    ids, x, y = batch_of(4)
    total, _ = stepper_of(config, net)((ids, x.float(), y), real=4, examples=4, noise=Noise(0))
    product = torch.bfloat16 if precision == "bf16" else torch.float32
    assert seen == [torch.float32] * 3 + [product]
    assert total.dtype == gradient(net).dtype == torch.float32
    assert places == [True] * 4
