"""Successive halving on fronts, with trials made by hand."""

import pytest

from fftune.risk import RiskCounts
from fftune.sweeping.early_stopping import ParetoHalving, RungResult


def sure(natural: float, hypocritical: float) -> RungResult:
    """Without any uncertainty."""
    return RungResult(values=(natural, hypocritical), optimistic=(natural, hypocritical))


def climb(marks: list[RungResult], *, eta: float = 2.0) -> list[bool]:
    ladder = ParetoHalving(eta=eta)
    return [ladder.goes_on(name, 10, mark) for name, mark in enumerate(marks)]


def test_trials_that_trade_are_never_stopped() -> None:
    assert climb([sure(i / 10, 1 - i / 10) for i in range(10)], eta=4) == [True] * 10


def test_a_dominated_trial_is_stopped() -> None:
    assert climb([sure(0.1, 0.9), sure(0.2, 0.5), sure(0.3, 0.6)]) == [True, True, False]


def test_a_dominated_trial_whose_best_case_is_not_goes_on() -> None:
    """Its natural risk of .3 could be as little as .15, less than the .2 of its rival."""
    lucky = RungResult(values=(0.3, 0.6), optimistic=(0.15, 0.55))
    assert climb([sure(0.1, 0.9), sure(0.2, 0.5), lucky]) == [True, True, True]


def test_a_front_is_never_cut() -> None:
    """Two fronts of two among four: the better half is the first front, whatever the order."""
    better, worse = [sure(0.1, 0.5), sure(0.5, 0.1)], [sure(0.2, 0.6), sure(0.6, 0.2)]
    assert climb([*better, *worse]) == [True, True, False, False]
    assert climb([*worse, *better]) == [True] * 4  # they were ahead when they came


def test_eta_says_how_many_go_on_whatever_happens() -> None:
    """Three trials in a chain: 1 / 1.5 of them is two, so that the second one is kept."""
    chain = [sure(0.1, 0.1), sure(0.2, 0.2), sure(0.3, 0.3)]
    assert climb(chain, eta=1.5) == [True, True, False]
    assert climb([chain[0], chain[2], chain[1]], eta=3) == [True, False, False]


def test_rungs_are_apart_and_stopped_trials_still_count() -> None:
    ladder = ParetoHalving()
    assert ladder.goes_on("a", 10, sure(0.1, 0.1))
    assert not ladder.goes_on("b", 10, sure(0.2, 0.2))
    assert ladder.goes_on("c", 20, sure(0.9, 0.9))
    assert not ladder.goes_on("d", 10, sure(0.3, 0.3))


def test_marks_carry_wilsons_lower_ends() -> None:
    """30 of 100, and 15 of those 30; Wilson 1927: .2189 and .3315."""
    mark = RungResult.of(RiskCounts(total=100, wrong=30, concealed=15))
    assert mark.values == (0.3, 0.5)
    assert mark.optimistic == pytest.approx((0.2189, 0.3315), abs=5e-5)


def test_a_net_without_mistakes_has_the_best_case() -> None:
    mark = RungResult.of(RiskCounts(total=100))
    assert mark.values == (0, 0)
    assert mark.optimistic == (pytest.approx(0, abs=1e-12), 0)
