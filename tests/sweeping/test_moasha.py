"""MOASHA's order and its cut (Schmucker et al. 2021), by hand and against a plain search."""

import random
from math import dist
from types import SimpleNamespace

import pytest

from fftune.config import StoppingConfig
from fftune.errors import ConfigError
from fftune.pareto import front_order
from fftune.sweeping.early_stopping import ParetoHalving, RungResult
from fftune.sweeping.ray_scheduler import ParetoHalvingScheduler

FRONT = [(0.1, 0.9), (0.2, 0.7), (0.5, 0.5), (0.9, 0.1), (0.6, 0.45)]
"""Distances to the first: 0, .22, .57, 1.13, .67; of the others to the fourth: .92, .57, .46; of
the second and the last to the third: .36, .11."""


def sure(*values: float) -> RungResult:
    return RungResult(values=values, optimistic=values)


def climb(points: list[tuple[float, float]], *, eta: float) -> list[bool]:
    ladder = ParetoHalving(eta=eta, rule="moasha")
    return [ladder.goes_on(name, 10, sure(*point)) for name, point in enumerate(points)]


def test_the_next_of_a_front_is_the_farthest_from_those_before() -> None:
    assert front_order(FRONT) == [0, 3, 2, 1, 4]
    assert front_order(FRONT[::-1]) == [4, 1, 2, 3, 0]


def test_fronts_come_one_after_the_other() -> None:
    """The last two are beaten by the third, and the second by one of them as well."""
    assert front_order([(0.9, 0.2), (0.8, 0.8), (0.5, 0.5), (0.6, 0.7)]) == [2, 0, 3, 1]


def test_of_equals_the_earlier_comes_first() -> None:
    assert front_order([(0.2, 0.2), (0.2, 0.2), (0.1, 0.5)]) == [2, 0, 1]
    assert front_order([]) == []


def plain_order(points: list[tuple[float, float]]) -> list[int]:
    """Sets and sums instead of arrays."""
    left, order = list(range(len(points))), []
    while left:
        front = [
            i
            for i in left
            if not any(
                points[j] != points[i]
                and all(a <= b for a, b in zip(points[j], points[i], strict=True))
                for j in left
            )
        ]
        left = [i for i in left if i not in front]
        net = [min(front, key=lambda i: points[i][0])]
        while len(net) < len(front):
            rest = [i for i in front if i not in net]
            net.append(max(rest, key=lambda i: min(dist(points[i], points[j]) for j in net)))
        order += net
    return order


def test_a_plain_search_finds_the_same_order() -> None:
    draw = random.Random(3)
    for _ in range(200):
        points = [(draw.random(), draw.random()) for _ in range(draw.randint(1, 12))]
        assert front_order(points) == plain_order(points)


def test_the_best_share_goes_on_rounded_up_and_a_front_is_cut() -> None:
    """All five are on one front, and come second of two, second of three, second of four, and
    last of five: at eta 2 one, two, two and three of them have a place."""
    assert climb(FRONT, eta=2) == [True, False, True, True, False]
    assert climb(FRONT, eta=4) == [True, False, False, False, False]


def test_intervals_do_not_count() -> None:
    ladder = ParetoHalving(rule="moasha")
    assert ladder.goes_on("a", 10, sure(0.2, 0.2))
    assert not ladder.goes_on("b", 10, RungResult(values=(0.3, 0.3), optimistic=(0.0, 0.0)))


def test_a_stopped_trial_still_holds_its_place() -> None:
    """The middle one of three in a chain goes on, as one of two in three; without the worst, which
    was stopped, it would be the last of two."""
    assert climb([(0.1, 0.1), (0.3, 0.3), (0.2, 0.2)], eta=2) == [True, False, True]


def test_tune_takes_either_rule() -> None:
    def decisions(rule: str) -> list[str]:
        scheduler = ParetoHalvingScheduler(["a", "b"], rungs=[2], rule=rule, time_attr="epoch")
        return [
            scheduler.on_trial_result(
                None, SimpleNamespace(trial_id=i), {"a": a, "b": b, "epoch": 2}
            )
            for i, (a, b) in enumerate(FRONT[:2])
        ]

    assert decisions("fronts") == ["CONTINUE", "CONTINUE"]
    assert decisions("moasha") == ["CONTINUE", "STOP"]


def test_an_unknown_rule_is_one_line() -> None:
    with pytest.raises(ConfigError, match="rule must be"):
        StoppingConfig(rule="asha")
