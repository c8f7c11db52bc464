"""Linear nets, whose optima are known: in closed form for two classes, by linear programme for
more."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor, nn

from fftune.attacks import attack_spec, success
from fftune.config import AttackConfig, Goal, Loss, Norm, ThreatModel
from fftune.keyed_noise import Noise
from fftune.threat import distance

SHAPE = (3, 4, 4)
SIZE = 48
EPS = 0.06


class Linear(nn.Module):
    """Logits W x + b, with b such that the middle of the box lies on no side."""

    def __init__(self, classes: int, seed: int) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        self.weight = torch.randn(classes, SIZE, generator=rng, dtype=torch.float64)
        self.bias = -self.weight.sum(1) / 2

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T + self.bias


def images(count: int, *, walls: bool, seed: int = 0) -> Tensor:
    """Near the middle of the box, or all over it with many pixels at its walls."""
    x = torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed)).double()
    return (2 * x - 0.5).clamp(0, 1) if walls else 0.4 + 0.2 * x


def attack(model, x, y, search: str, goal: Goal, loss: Loss, norm: Norm, eps, steps, **more):
    threat = ThreatModel(norm=norm, eps=eps)
    config = AttackConfig(threat=threat, search=search, steps=steps, **more)
    kept = {"noise": Noise(0), "ids": torch.arange(len(x))}
    return attack_spec(search).run(model, x, y, config=config, goal=goal, loss=loss, **kept)


GRADIENT: list[tuple[str, Loss]] = [
    ("fgsm", "ce"),
    ("pgd", "ce"),
    ("cw", "margin"),
    ("apgd", "ce"),
    ("apgd", "margin"),
    ("apgd", "dlr"),  # of two classes: the margin
]


@pytest.mark.some(12)
@pytest.mark.parametrize(("search", "loss"), GRADIENT)
@pytest.mark.parametrize("goal", ["adversarial", "hypocritical"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_gradient_searches_reach_the_binary_optimum(search, loss, goal, norm) -> None:
    model, x = Linear(2, 0), images(6, walls=False)
    y = torch.tensor([0, 1, 0, 1, 0, 1])
    x_pert = attack(model, x, y, search, goal, loss, norm, EPS, 100)
    w = model.weight[1] - model.weight[0]
    best = w.sign() if norm == "linf" else w / w.norm()
    side = (1 - 2 * y) * (1 if goal == "adversarial" else -1)
    expected = x + EPS * (side[:, None] * best).view_as(x)
    torch.testing.assert_close(x_pert, expected, rtol=0, atol=1e-4)


def distances(model: Linear, x: Tensor, norm: Norm) -> Tensor:
    """(B,) to the boundary of two classes, no wall in the way."""
    w = model.weight[1] - model.weight[0]
    lead = (model(x)[:, 1] - model(x)[:, 0]).abs()
    return lead / (w.abs().sum() if norm == "linf" else w.norm())


@pytest.mark.some(4)
@pytest.mark.parametrize(
    ("search", "norm", "steps", "factor"),
    [
        ("deepfool", "linf", 50, 1.03),
        ("deepfool", "l2", 50, 1.03),
        ("fab", "linf", 100, 1.01),
        ("fab", "l2", 100, 1.01),
        pytest.param("rays", "linf", 1500, 1.25, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("goal", ["adversarial", "hypocritical"])
def test_minimal_searches_come_near_the_binary_distance(search, norm, steps, factor, goal) -> None:
    model, x = Linear(2, 1), images(3, walls=False, seed=1)
    pred = model(x).argmax(1)
    y = pred if goal == "adversarial" else 1 - pred
    exact = distances(model, x, norm)
    for i in range(len(x)):
        one = slice(i, i + 1)
        for eps, reached in (
            (float(exact[i]) * factor + 2e-3, True),
            (0.98 * float(exact[i]), False),
        ):
            x_pert = attack(model, x[one], y[one], search, goal, "margin", norm, eps, steps)
            found = model(x_pert).argmax(1) == (1 - pred[one] if goal == "adversarial" else y[one])
            assert bool(found) == reached
            if reached and search != "rays":
                assert distance(x_pert, x[one], norm) <= factor * exact[i]
            if not reached:
                assert torch.equal(x_pert, x[one])


@pytest.mark.slow
@pytest.mark.parametrize("goal", ["adversarial", "hypocritical"])
@pytest.mark.parametrize(
    ("norm", "factor"), [("linf", 1.25), pytest.param("l2", 2.0, marks=pytest.mark.slow)]
)
def test_square_needs_little_more_than_the_binary_distance(goal, norm, factor) -> None:
    """In l2 its squares are at least 3 x 3, which is coarse in images of 4 x 4."""
    model, x = Linear(2, 1), images(3, walls=False, seed=1)
    pred = model(x).argmax(1)
    y = pred if goal == "adversarial" else 1 - pred
    for i, exact in enumerate(distances(model, x, norm).tolist()):
        one = slice(i, i + 1)
        for eps, reached in ((factor * exact, True), (0.98 * exact, False)):
            x_pert = attack(model, x[one], y[one], "square", goal, "margin", norm, eps, 800)
            assert bool(model(x_pert).argmax(1) != pred[one]) == reached


def best_lead(model: Linear, x: Tensor, y: int, over: list[int], eps: float) -> float:
    """The most by which y can lead all of `over` in the linf ball and the box, by linear
    programme in (x', lead)."""
    w, b = model.weight.numpy(), model.bias.numpy()
    rows = [np.append(w[j] - w[y], 1) for j in over]
    limits = [b[y] - b[j] for j in over]
    flat = x.flatten().numpy()
    bounds = [*zip(np.maximum(flat - eps, 0), np.minimum(flat + eps, 1), strict=True), (None, None)]
    solved = linprog(np.append(np.zeros(SIZE), -1), np.array(rows), limits, bounds=bounds)
    return float(-solved.fun)


STRONG: list[tuple[str, Loss, int]] = [
    ("apgd", "margin", 100),
    ("apgd", "dlr", 100),
    ("fab", "margin", 100),
]


@pytest.mark.some(6)
@pytest.mark.parametrize("classes", [3, 10])
@pytest.mark.parametrize(("search", "loss", "steps"), STRONG)
@pytest.mark.parametrize("goal", ["adversarial", "hypocritical"])
def test_many_classes_against_a_linear_programme(classes, search, loss, steps, goal) -> None:
    """With walls in the way; examples within a hundredth of the boundary do not count."""
    model, x = Linear(classes, 2), images(16, walls=True, seed=2)
    order = model(x).argsort(1, descending=True)
    adversarial = goal == "adversarial"
    y = order[:, 0] if adversarial else order[:, 1]
    protocol = {"protocol": "first_success", "targets": 9}
    x_pert = attack(model, x, y, search, goal, loss, "linf", EPS, steps, **protocol)
    clean = model(x).argmax(1)
    found = success(goal, model(x_pert).argmax(1), clean, y).tolist()
    checked = 0
    for i, label in enumerate(y.tolist()):
        others = [j for j in range(classes) if j != label]
        if adversarial:
            lead = max(best_lead(model, x[i], j, [label], EPS) for j in others)
        else:
            lead = best_lead(model, x[i], label, others, EPS)
        scale = 0.02 * float(model.weight.abs().sum(1).mean()) * EPS
        if abs(lead) > scale:
            assert found[i] == (lead > 0), (i, lead, scale)
            checked += 1
    assert checked >= 12
    assert any(found)


def test_fab_measures_the_distance_with_walls_in_the_way() -> None:
    """Two classes, linf: the least eps at which the linear programme finds a way."""
    model, x = Linear(2, 3), images(6, walls=True, seed=3)
    y = model(x).argmax(1)
    x_pert = attack(model, x, y, "fab", "adversarial", "margin", "linf", 0.5, 200)
    for i, label in enumerate(y.tolist()):
        low, high = 0.0, 0.5
        while high - low > 1e-5:
            middle = (low + high) / 2
            reached = best_lead(model, x[i], 1 - label, [label], middle) > 0
            low, high = (low, middle) if reached else (middle, high)
        away = float(distance(x_pert[i : i + 1], x[i : i + 1], "linf"))
        assert high * (1 - 1e-3) <= away <= 1.02 * high
        assert not math.isclose(away, 0)
