"""The linear model of section 5, walked through a number at a time."""

from itertools import product
from math import exp

import pytest
import torch

from fftune.defenses.theory.linear import SPAN, LinearNet, LinearTask, accuracies

K_T, K_F, ZETA = 0.125, 1.0, 0.5


def scores(task: LinearTask, x: float) -> tuple[float, float]:
    """f_{-1} and f_{+1}: the true class has slope k_t, the false one k_f; +1 is biased."""
    if x > 0:
        plus, minus = task.k_t * x, -task.k_f * x
    else:
        plus, minus = task.k_f * x, -task.k_t * x
    return minus, plus - task.zeta * (task.k_t + task.k_f)


def slopes(task: LinearTask, x: float) -> tuple[float, float]:
    return (-task.k_f, task.k_t) if x > 0 else (-task.k_t, task.k_f)


def sign(value: float) -> int:
    return (value > 0) - (value < 0)


def walk(x: float, radius: float, steps: int, ascent) -> float:
    """Sign steps that add up to the radius, inside the ball and the pixels' span."""
    at = x
    for _ in range(steps):
        at += radius / steps * sign(ascent(at))
        at = max(x - radius, min(x + radius, at))
        at = max(-SPAN, min(SPAN, at))
    return at


def plain(task: LinearTask, *, ce: bool, steps: int, count: int = 600) -> tuple[float, ...]:
    cell = (task.most - task.least) / (count // 2)
    points = [task.least + cell * (i + 0.5) for i in range(count // 2)]
    counts = [0, 0, 0, 0]
    for x, y in [(-p, 0) for p in points] + [(p, 1) for p in points]:

        def attack(at: float, y: int = y) -> float:
            return -slopes(task, at)[y]

        def defend(at: float) -> float:
            (f0, f1), (d0, d1) = scores(task, at), slopes(task, at)
            if not ce:
                return -(d0 + d1)
            p1 = 1 / (1 + exp(f0 - f1))
            return 2 * ((1 - p1) * d0 + p1 * d1) - d0 - d1

        attacked = walk(x, task.eps, steps, attack)
        ends = (x, attacked, walk(x, task.eps_d, steps, defend))
        for k, end in enumerate((*ends, walk(attacked, task.eps_d, steps, defend))):
            f0, f1 = scores(task, end)
            counts[k] += int(f1 > f0) == y
    return tuple(count / (2 * len(points)) for count in counts)


TASKS = [
    LinearTask(),
    LinearTask(k_t=1.0, k_f=0.125),
    LinearTask(k_t=0.5, k_f=0.25, zeta=0.75, eps=0.5, eps_d=1.5),
    LinearTask(k_t=0.25, k_f=2.0, zeta=1.5, eps=1.25, eps_d=0.5, least=0.25, most=3.25),
    LinearTask(zeta=0.25, eps=2.0, eps_d=1.0, least=0.0, most=6.0),
    LinearTask(zeta=2.0, eps=0.5, eps_d=2.0, least=0.5, most=8.0),
]


@pytest.mark.parametrize(("task", "steps"), list(product(TASKS, (1, 2, 4))))
def test_a_plain_walk_loses_and_restores_the_same_examples(task, steps) -> None:
    for loss in ("linear", "ce"):
        found = accuracies(task, loss=loss, steps=steps)
        natural, attacked, natural_hedged, hedged = plain(task, ce=loss == "ce", steps=steps)
        assert (found.natural, found.attacked) == (natural, attacked)
        assert (found.natural_hedged, found.hedged) == (natural_hedged, hedged)


def test_section_5_in_numbers() -> None:
    """zeta = .5, eps = 1, 1 < |x| < 4; slopes 1/8 and 1; steps of the linear loss, one."""
    task = LinearTask()
    assert (task.k_t, task.k_f, task.zeta, task.eps, task.eps_d) == (K_T, K_F, ZETA, 1, 1)
    assert (task.least, task.most) == (1, 4)
    found = accuracies(task)
    assert (found.natural, found.natural_hedged, found.hedged) == (1, 1, 1)
    assert found.attacked == pytest.approx(11 / 12, abs=1e-12)
    assert found == accuracies(task, loss="linear", steps=1)


def test_logits_and_slopes_on_either_side() -> None:
    """x = -3, 0 and 2 are the pixels 5/16, 1/2 and 5/8."""
    net, x = LinearNet(LinearTask()), torch.tensor([-3.0, 0.0, 2.0], dtype=torch.float64)
    pixels = ((x / 8 + 1) / 2).view(3, 1, 1, 1).requires_grad_()
    logits = net(pixels)
    bias = ZETA * (K_T + K_F)
    expected = [[3 * K_T, -3 * K_F - bias], [0, -bias], [-2 * K_F, 2 * K_T - bias]]
    assert logits.tolist() == expected
    for label, by_x in enumerate(([-K_T, -K_T, -K_F], [K_F, K_F, K_T])):
        (grad,) = torch.autograd.grad(logits[:, label].sum(), pixels, retain_graph=True)
        assert (grad.flatten() / 16).tolist() == by_x  # a pixel is 16 x


def test_points_are_midpoints_on_both_sides() -> None:
    pixels, y = LinearTask().points(count=6)
    assert pixels.shape == (6, 1, 1, 1) and pixels.dtype == torch.float64
    x = 8 * (2 * pixels.flatten() - 1)
    assert x.tolist() == [-1.5, -2.5, -3.5, 1.5, 2.5, 3.5]
    assert y.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(LinearTask().points(count=7)[0], pixels)  # the same on either side
    assert len(LinearTask().points()[1]) == 600
