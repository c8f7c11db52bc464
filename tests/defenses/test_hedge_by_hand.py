"""Hedge Defense in float64, an example and a class at a time (Wu et al. 2021, alg. 1 and 4)."""

import sys
from dataclasses import replace
from math import sqrt

import pytest
import torch
from torch import Tensor, nn

from fftune.attacks.query_counter import BatchIndexed, QueryCounter
from fftune.config import HedgeConfig
from fftune.defenses import hedge, refuse_without_gradients
from fftune.defenses.hedge import _drawn
from fftune.errors import ModelError
from fftune.keyed_noise import ExampleNoise, Noise

module = sys.modules["fftune.defenses.hedge"]
"""`fftune.defenses.hedge` itself is the function."""
NOISE = Noise(3).fold("defense", "digits", "test", 1)
IDS = torch.tensor([40, 7, 12, 3, 99, 1])
CLASSES = 4


class Layers(nn.Module):
    """Two layers with tanh, whose derivatives are written out below."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.first = nn.Parameter(torch.randn(12, 8, generator=generator))
        self.second = nn.Parameter(2 * torch.randn(8, CLASSES, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) @ self.first).tanh() @ self.second


def slope_of(net: Layers, x: Tensor, classes: list[int], *, loss: str) -> Tensor:
    """(12,) the derivative of the classes' losses at x, by the chain rule, in float64."""
    first, second = net.first.detach().double(), net.second.detach().double()
    hidden = (x @ first).tanh()
    z = hidden @ second
    p = z.exp() / z.exp().sum()
    by_logits = torch.zeros(CLASSES, dtype=torch.float64)
    for c in classes:
        by_logits[c] -= 1
        if loss == "ce":
            by_logits += p
    return first @ ((1 - hidden**2) * (second @ by_logits))


def plain(net: Layers, x: Tensor, start: Tensor, config: HedgeConfig, drawn: list[list[int]]):
    """Each example by itself, from its start; `drawn` are the classes that its steps climb."""
    low, high = (0.0, 1.0) if config.clamp else (-100.0, 100.0)
    size = config.eps_d / 2 if config.step_size is None else config.step_size
    out = []
    for n in range(len(x)):
        origin, at = x[n].flatten().double(), start[n].flatten().double()
        for k in range(config.steps):
            grad = slope_of(net, at, drawn[n][k], loss=config.loss)
            if config.norm == "linf":
                at = at + size * grad.sign()
                at = origin + (at - origin).clamp(-config.eps_d, config.eps_d)
            else:
                at = at + size * grad / sqrt(float((grad**2).sum()))
                length = sqrt(float(((at - origin) ** 2).sum()))
                at = origin + (at - origin) * min(1.0, config.eps_d / length)
            at = at.clamp(low, high)
        out.append(at.view_as(x[n]))
    return torch.stack(out)


@pytest.fixture
def images(rng) -> Tensor:
    return torch.rand(6, 3, 2, 2, generator=rng)


@pytest.mark.parametrize("start", ["uniform", "none"])
@pytest.mark.parametrize("clamp", [True, False])
@pytest.mark.parametrize("loss", ["ce", "linear"])
@pytest.mark.parametrize(
    ("norm", "eps_d", "size"),
    [("linf", 0.3, None), ("linf", 0.2, 0.03), ("l2", 0.5, None), ("l2", 0.8, 0.1)],
)
def test_the_losses_of_all_classes_are_climbed(norm, eps_d, size, loss, clamp, start, images):
    """Algorithm 1; without steps, its start is all that is left."""
    config = HedgeConfig(
        norm=norm, eps_d=eps_d, steps=4, step_size=size, loss=loss, clamp=clamp, start=start
    )
    net = Layers()
    begun = hedge(net, images, config=replace(config, steps=0), noise=NOISE, ids=IDS)
    assert torch.equal(begun, images) == (start == "none")
    every = [[list(range(CLASSES))] * 4] * 6
    expected = plain(net, images, begun, config, every)
    found = hedge(net, images, config=config, noise=NOISE, ids=IDS)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-6)
    assert not torch.equal(found, begun)


@pytest.mark.parametrize("loss", ["ce", "linear"])
def test_one_class_a_step_climbs_what_each_example_drew(loss, images) -> None:
    """Algorithm 4, whose draws are uniform numbers cut into as many parts as there are classes."""
    config = HedgeConfig(eps_d=0.2, steps=5, classes="one", loss=loss)
    u = NOISE.fold("classes").uniform(IDS, (5,)).tolist()
    drawn = [[[int(CLASSES * value)] for value in row] for row in u]
    assert {c for row in drawn for (c,) in row} == set(range(CLASSES))
    net = Layers()
    begun = hedge(net, images, config=replace(config, steps=0), noise=NOISE, ids=IDS)
    expected = plain(net, images, begun, config, drawn)
    found = hedge(net, images, config=config, noise=NOISE, ids=IDS)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-6)
    every = hedge(net, images, config=HedgeConfig(eps_d=0.2, steps=5), noise=NOISE, ids=IDS)
    assert not torch.equal(found, every)


class NearlyOne(Noise):
    """The largest number below 1."""

    def uniform(self, ids: Tensor, shape: tuple[int, ...]) -> Tensor:
        return torch.full((len(ids), *shape), 1 - 2**-24)

    def fold(self, *names: str | int) -> Noise:
        return self


@pytest.mark.parametrize("classes", [2, 3, 7, 10, 64, 100, 1000, 21_841])
def test_the_largest_draw_is_the_last_class(classes: int) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3, classes))
    drawn = _drawn(net, torch.rand(2, 3, 1, 1), 4, ExampleNoise(NearlyOne(0), IDS[:2]))
    assert drawn.tolist() == [[classes - 1] * 4] * 2


def test_the_search_for_one_class_is_an_adversarys_and_that_for_all_a_hedges(
    images, monkeypatch
) -> None:
    asked: list[dict] = []

    def noted(_: nn.Module, x: Tensor, y: Tensor, **given) -> Tensor:
        asked.append(given | {"y": y})
        return x

    monkeypatch.setattr(module, "pgd", noted)
    for classes in ("all", "one"):
        config = HedgeConfig(eps_d=0.2, steps=3, step_size=0.07, classes=classes, loss="linear")
        hedge(Layers(), images, config=config, noise=NOISE, ids=IDS)
    every, one = asked
    assert (every["goal"], one["goal"]) == ("hedge", "adversarial")
    assert every["y"].tolist() == [0] * 6 and one["y"].shape == (6, 3)
    for given in asked:
        search = given["config"]
        assert (given["loss"], given["noise"], given["ids"] is IDS) == ("linear", NOISE, True)
        assert (search.threat.eps, search.steps, search.step_size) == (0.2, 3, 0.07)
        assert (search.start, search.restarts, search.protocol) == ("uniform", 1, None)


class NeverAsked(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise AssertionError("asked")


@pytest.mark.parametrize("classes", ["all", "one"])
def test_without_steps_the_net_is_not_even_asked(classes, images) -> None:
    """Uniform in the ball around x: what both kinds of hedge begin from."""
    config = HedgeConfig(eps_d=0.25, steps=0, classes=classes)
    found = hedge(NeverAsked(), images, config=config, noise=NOISE, ids=IDS)
    delta = 0.25 * (2 * NOISE.fold("pgd", 0).uniform(IDS, (3, 2, 2)) - 1)
    torch.testing.assert_close(found, (images + delta).clamp(0, 1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("classes", ["all", "one"])
def test_an_empty_batch_stays_empty(classes, images) -> None:
    config = HedgeConfig(eps_d=0.25, steps=3, classes=classes)
    found = hedge(Layers(), images[:0], config=config, noise=NOISE, ids=IDS[:0])
    assert found.shape == (0, 3, 2, 2)
    counted = QueryCounter(Layers(), torch.zeros(0, CLASSES))
    found = hedge(counted, images[:0], config=config, noise=NOISE, ids=IDS[:0])
    assert found.shape == (0, 3, 2, 2)


class Attentive(BatchIndexed):
    """Refuses a batch of other rows than it was told of."""

    def __init__(self, net: nn.Module, rows: int) -> None:
        super().__init__()
        self.net, self.rows = net, rows

    def forward(self, x: Tensor) -> Tensor:
        assert len(x) == self.rows
        return self.net(x)

    def select(self, rows: Tensor) -> "Attentive":
        return Attentive(self.net, len(rows))


def test_to_count_the_classes_one_example_is_asked_as_such(images) -> None:
    config = HedgeConfig(eps_d=0.2, steps=3, classes="one")
    found = hedge(Attentive(Layers(), 6), images, config=config, noise=NOISE, ids=IDS)
    assert torch.equal(found, hedge(Layers(), images, config=config, noise=NOISE, ids=IDS))
    counted = QueryCounter(Layers(), torch.zeros(6, CLASSES))
    hedge(counted, images, config=config, noise=NOISE, ids=IDS)
    assert counted.forwards.tolist() == [4, 3, 3, 3, 3, 3]
    assert counted.backwards.tolist() == [3] * 6
    assert counted.queries.tolist() == [1, 0, 0, 0, 0, 0]


def test_inputs_and_parameters_are_left_as_they_were(images) -> None:
    net, before = Layers(), images.clone()
    with torch.no_grad():
        found = hedge(net, images, config=HedgeConfig(steps=2), noise=NOISE, ids=IDS)
    assert not found.requires_grad and not images.requires_grad
    assert torch.equal(images, before)
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


class Logits(nn.Module):
    """Logits that are any function of the pixels, with a bias that has gradients of its own."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function, self.bias = function, nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.function(x), torch.zeros(len(x))], 1) + self.bias


def first_alone(x: Tensor) -> Tensor:
    """A gradient at the first example, at one pixel, and none elsewhere."""
    weights = torch.zeros_like(x)
    weights[0, 0, 0, 0] = 1
    return (weights * x).flatten(1).sum(1)


def test_a_gradient_anywhere_will_do(images) -> None:
    with torch.no_grad():
        refuse_without_gradients(Logits(first_alone), images)
    assert not images.requires_grad


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.zeros(len(x)),  # of the bias alone
        lambda x: 0 * x.flatten(1).sum(1),
        lambda x: x.detach().flatten(1).sum(1),
    ],
)
def test_gradients_of_the_parameters_are_not_enough(function, images) -> None:
    with pytest.raises(ModelError, match="gradients are zero"):
        refuse_without_gradients(Logits(function), images)


def test_logits_without_any_graph_have_no_gradients(images) -> None:
    net = Logits(lambda x: x.detach().flatten(1).sum(1)).requires_grad_(False)
    with pytest.raises(ModelError, match="has no input gradients"):
        refuse_without_gradients(net, images)


def pair(first: int, second: int) -> nn.Module:
    """Logits that are so many times the sum of the pixels."""

    class Pair(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            total = x.flatten(1).sum(1)
            return torch.stack([first * total, second * total], 1)

    return Pair()


def test_what_counts_is_the_slope_of_the_losses_not_of_the_logits(images) -> None:
    """Opposite logits have a slope though their sum has none; for equal ones it is the reverse."""
    refuse_without_gradients(pair(1, -1), images)
    with pytest.raises(ModelError, match="gradients are zero"):
        refuse_without_gradients(pair(1, 1), images)
