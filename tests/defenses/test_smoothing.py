"""Randomised smoothing and its certificates, against closed forms and attacks."""

from math import comb, isnan, log
from statistics import NormalDist

import pytest
import torch
from torch import nn

from fftune.attacks import pgd
from fftune.certified.smoothing import certified_radius, certify
from fftune.config import AttackConfig, SmoothingConfig, ThreatModel
from fftune.defenses import AdaptiveAccess
from fftune.defenses.smoothing import Smoothing, log_mean_probabilities, votes
from fftune.keyed_noise import ExampleNoise, Noise

NOISE = Noise(3).fold("defender")


class Halves(nn.Module):
    """Two classes, divided by a plane through the middle of the cube."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.tensor([3.0, -1.0, 2.0, -1.0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        side = (x - 0.5).flatten(1) @ self.weight.to(x)
        return torch.stack([side, -side], 1)


def images(count: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return 0.2 + 0.6 * torch.rand(count, 1, 2, 2, generator=rng)


def test_votes_and_mean_probabilities_are_those_of_each_noisy_copy() -> None:
    x, ids, net = images(5), torch.tensor([7, 1, 30, 2, 9]), Halves()
    config = SmoothingConfig(sigma=0.5, votes=9)
    counted, means = torch.zeros(5, 2).long(), torch.zeros(5, 2)
    for row in range(5):  # alone, so that company does not matter
        for copy in range(9):
            drawn = NOISE.fold("copy", copy).normal(ids[row : row + 1], (1, 2, 2))
            logits = net(x[row : row + 1] + 0.5 * drawn)[0]
            counted[row, logits.argmax()] += 1
            means[row] += logits.softmax(0) / 9
    given = {"config": config, "noise": NOISE, "ids": ids}
    assert torch.equal(votes(net, x, **given), counted)
    assert counted.min(1).values.max() > 0 and counted.sum().item() == 45
    torch.testing.assert_close(log_mean_probabilities(net, x, **given), means.log())
    said = Smoothing(config=config).wrap(net, x, noise=NOISE, ids=ids)
    torch.testing.assert_close(said, (counted + 1).float().log())
    assert torch.equal(said.argmax(1), counted.argmax(1))


class Placed:
    """Stands for a tensor of four pixels, or of ids, on a device that need not be there."""

    shape = (2, 1, 2, 2)

    def __init__(self, device: str) -> None:
        self.device = device

    def to(self, where: "str | Placed") -> "Placed":
        return Placed(where if isinstance(where, str) else where.device)

    def __rmul__(self, _: float) -> "Placed":
        return self

    def __add__(self, other: "Placed") -> "Placed":
        assert other.device == self.device
        return self


def test_copies_are_drawn_on_the_device_of_the_images(monkeypatch) -> None:
    """Ids come from the host; draws are equal to the bit wherever they are made."""
    drawn = []

    def normal(self: Noise, ids: Placed, shape: tuple[int, ...]) -> Placed:
        drawn.append(ids.device)
        return ids

    monkeypatch.setattr(Noise, "normal", normal)
    given = {"config": SmoothingConfig(sigma=0.5, votes=3), "noise": NOISE, "ids": Placed("host")}
    found = votes(lambda _x: torch.eye(2), Placed("card"), **given)
    assert found.tolist() == [[3, 0], [0, 3]] and drawn == ["card"] * 3


def test_attackers_search_through_mean_probabilities_of_the_first_copies() -> None:
    config = SmoothingConfig(sigma=0.5, votes=9, attacker_votes=3)
    smoothing = Smoothing(config=config)
    assert (smoothing.passes, smoothing.differentiable) == (8, False)
    access = AdaptiveAccess(defense=smoothing, leaked_draw=2)
    x, ids = images(4).requires_grad_(), torch.arange(4)
    defender = Noise(5)
    behind = access.wrap(Halves(), noise=ExampleNoise(NOISE, ids), defender=defender)
    few = SmoothingConfig(sigma=0.5, votes=3)
    expected = log_mean_probabilities(Halves(), x, config=few, noise=defender.fold(2), ids=ids)
    assert torch.equal(behind(x), expected)
    (grad,) = torch.autograd.grad(behind(x)[:, 0].sum(), x)
    assert bool((grad.flatten(1).sign() == Halves().weight.sign()).all())


@pytest.mark.parametrize(("given", "cast"), [(100, 100), (90, 100), (970, 1000), (5, 5)])
def test_the_radius_is_cohens(given: int, cast: int) -> None:
    """With p at which so many votes or more have probability alpha (Clopper & Pearson 1934)."""
    for alpha in (0.001, 0.05):
        radius = certified_radius(given, cast, sigma=0.5, alpha=alpha)
        if isnan(radius):
            assert given == 5 and alpha == 0.001  # .001^(1/5) = .25
            continue
        p = NormalDist().cdf(radius / 0.5)
        tail = sum(comb(cast, k) * p**k * (1 - p) ** (cast - k) for k in range(given, cast + 1))
        assert tail == pytest.approx(alpha, rel=1e-6)


def test_unanimous_votes_of_the_papers_size() -> None:
    """p = alpha^(1/n), so that 100,000 copies certify 3.8 sigma and no more."""
    radius = certified_radius(100_000, 100_000, sigma=0.25)
    assert radius == pytest.approx(0.25 * NormalDist().inv_cdf(0.001 ** (1 / 100_000)))
    assert radius == pytest.approx(0.25 * 3.8115, abs=1e-4)


@pytest.mark.parametrize("given", [0, 30, 50, 60])
def test_it_abstains_without_a_sure_majority(given: int) -> None:
    assert isnan(certified_radius(given, 100, sigma=0.25))


def test_a_linear_nets_radius_is_its_distance() -> None:
    """Smoothed or not, such a net changes its answer at the plane: bounds stay below, and close.

    Of 2,000 votes that are shared fairly, 1,069 are a majority at alpha = .001: .043 with sigma .5.
    """
    x, net, ids = images(24), Halves(), torch.arange(24)
    config = SmoothingConfig(sigma=0.5, votes=2000)
    pred, radius = certify(net, x, config=config, noise=NOISE, ids=ids)
    side = (x - 0.5).flatten(1) @ net.weight
    distance = side.abs() / net.weight.norm()
    sure = ~radius.isnan()
    assert torch.equal(pred[sure], (side < 0).long()[sure])
    assert bool((radius[sure] < distance[sure]).all())
    assert bool((radius[sure] > distance[sure] - 0.09).all())
    assert 12 < int(sure.sum()) < 24 and bool((distance[~sure] < 0.09).all())


def test_no_attack_inside_the_radius_turns_the_smoothed_answer() -> None:
    """And one that goes a little farther than the plane turns all."""
    x, net, ids = images(24), Halves(), torch.arange(24)
    config = SmoothingConfig(sigma=0.5, votes=1000)
    pred, radius = certify(net, x, config=config, noise=NOISE.fold("certify"), ids=ids)
    distance = ((x - 0.5).flatten(1) @ net.weight).abs() / net.weight.norm()
    access = AdaptiveAccess(defense=Smoothing(config=config), draws=2)
    turned = {}
    for eps in (0.05, 0.1, 0.2, 0.35):
        behind = access.wrap(net, noise=ExampleNoise(Noise(1), ids), defender=NOISE)
        attack = AttackConfig(threat=ThreatModel(norm="l2", eps=eps), steps=5, step_size=eps)
        goal = {"config": attack, "goal": "adversarial", "loss": "ce"}
        x_adv = pgd(behind, x, pred, noise=Noise(2), ids=ids, **goal)
        side = (x_adv - 0.5).flatten(1) @ net.weight  # the vote of infinitely many copies
        turned[eps] = (side < 0).long() != pred
        assert not bool((turned[eps] & (radius >= eps)).any())
        assert bool(turned[eps][distance < 0.9 * eps].all())
    assert [int(t.sum()) > 0 for t in turned.values()] == [True] * 4
    assert int((radius >= 0.05).sum()) > 8


def test_its_logits_are_finite_where_a_class_has_no_vote() -> None:
    x = torch.tensor([1.0, 0.0]).expand(1, 1, 2, 2)
    smoothing = Smoothing(config=SmoothingConfig(sigma=0.01, votes=8))
    said = smoothing.wrap(Halves(), x, noise=NOISE, ids=torch.tensor([4]))
    assert said.tolist() == [[pytest.approx(log(9)), 0.0]]
