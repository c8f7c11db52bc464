"""Successive halving on fronts against a plain search, and by hand at its edges."""

import random
from itertools import product
from math import sqrt

import pytest

from fftune.risk import RiskCounts
from fftune.sweeping.early_stopping import ParetoHalving, RungResult, StoppedError, is_dominated


def beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Nowhere larger and somewhere smaller."""
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def plain_left_behind(trial: int, marks: dict[int, RungResult], eta: float) -> bool:
    """Peel whole fronts off until they hold a 1 / eta; then ask who beats the trial's best."""
    left, survivors = dict(marks), []
    while len(survivors) * eta < len(marks):
        front = [
            name
            for name, mark in left.items()
            if not any(beats(rival.values, mark.values) for rival in left.values())
        ]
        survivors += front
        for name in front:
            del left[name]
    if trial in survivors:
        return False
    return any(beats(marks[name].values, marks[trial].optimistic) for name in survivors)


@pytest.mark.parametrize("eta", [1.5, 2.0, 3.0, 4.0])
def test_a_plain_search_stops_the_same_trials(eta: float) -> None:
    draw, stopped = random.Random(int(10 * eta)), 0
    for _ in range(150):
        marks = {}
        for name in range(draw.randint(1, 9)):
            values = (draw.randint(0, 6) / 8, draw.randint(0, 6) / 8)  # ties are frequent
            gain = draw.choice([0, 0, 1, 2]) / 16
            marks[name] = RungResult(values=values, optimistic=tuple(v - gain for v in values))
        for name in marks:
            found = is_dominated(name, marks, eta=eta)
            assert found == plain_left_behind(name, marks, eta)
            stopped += found
    assert stopped > 50


def sure(*values: float) -> RungResult:
    return RungResult(values=values, optimistic=values)


def chain(length: int) -> dict[int, RungResult]:
    """Each trial is beaten by all before it."""
    return {k: sure(0.1 * k, 0.1 * k) for k in range(length)}


@pytest.mark.parametrize(
    ("length", "eta", "kept"),
    [(4, 2, 2), (5, 2, 3), (6, 3, 2), (7, 3, 3), (3, 4, 1), (10, 4, 3), (4, 1, 4), (1, 2, 1)],
)
def test_the_share_that_goes_on_is_rounded_up(length: int, eta: float, kept: int) -> None:
    marks = chain(length)
    assert [is_dominated(k, marks, eta=eta) for k in marks] == [k >= kept for k in marks]


def test_the_rivals_are_those_that_are_kept_alone() -> None:
    """c's best case is beaten by b, who is cut itself; a does not beat it: c goes on."""
    marks = {
        "a": sure(0.0, 0.5),
        "b": sure(0.1, 0.55),
        "c": RungResult(values=(0.3, 0.6), optimistic=(0.2, 0.45)),
    }
    assert not is_dominated("c", marks, eta=3)
    assert is_dominated("b", marks, eta=3)


def test_an_equal_best_case_is_not_beaten() -> None:
    marks = {"a": sure(0.2, 0.2), "b": RungResult(values=(0.3, 0.3), optimistic=(0.2, 0.2))}
    assert not is_dominated("b", marks, eta=2)
    marks["b"] = RungResult(values=(0.3, 0.3), optimistic=(0.2, 0.2001))
    assert is_dominated("b", marks, eta=2)


def test_three_objectives_count_as_well_as_two() -> None:
    """Worse in two, better in the third."""
    marks = {"a": sure(0.1, 0.1, 0.5), "b": sure(0.2, 0.2, 0.4), "c": sure(0.2, 0.2, 0.5)}
    assert [is_dominated(name, marks, eta=3) for name in marks] == [False, False, True]


def test_a_ladder_halves_by_default_and_takes_each_rung_by_itself() -> None:
    ladder = ParetoHalving()
    assert ladder.eta == 2
    one, two, three = sure(0.1, 0.1), sure(0.2, 0.2), sure(0.3, 0.3)
    assert ladder.goes_on("a", 5, one)
    assert not ladder.goes_on("b", 5, two)
    assert not ladder.goes_on("c", 5, three)
    # Alone at its rung, whatever it was before; and where it stood is replaced, not added.
    assert ladder.goes_on("c", 10, three)
    assert ladder.goes_on("b", 5, sure(0.05, 0.05))
    assert ladder.rungs == {5: {"a": one, "b": sure(0.05, 0.05), "c": three}, 10: {"c": three}}
    # Two of three are kept: a comes second now, c is still the last.
    assert ladder.goes_on("a", 5, one)
    assert not ladder.goes_on("c", 5, three)


def wilson_low(count: int, n: int) -> float:
    """The lower end of Wilson 1927 at 95 %, as in any textbook."""
    z, p = 1.959963984540054, count / n
    return (p + z**2 / (2 * n) - z * sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)) / (1 + z**2 / n)


def test_marks_by_hand() -> None:
    for total, (wrong, concealed) in product((40, 1000), ((1, 0), (10, 3), (39, 39), (17, 8))):
        mark = RungResult.of(RiskCounts(total=total, wrong=wrong, concealed=concealed, fooled=5))
        assert mark.values == (wrong / total, concealed / wrong)
        expected = (wilson_low(wrong, total), wilson_low(concealed, wrong))
        assert mark.optimistic == pytest.approx(expected, abs=1e-9)
    assert RungResult.of(RiskCounts()).values == RungResult.of(RiskCounts()).optimistic == (0, 0)


def test_a_stopped_trial_says_when() -> None:
    error = StoppedError(7)
    assert error.epoch == 7 and str(error) == "stopped after epoch 7"
