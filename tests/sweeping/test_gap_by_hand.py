"""Gap bisection against a plain loop, and small studies split by hand on every axis."""

import random
from itertools import pairwise
from math import exp, expm1, isfinite, log, log1p, sqrt

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from fftune.sweeping.samplers.gap import GapSampler, Scale, Tried, next_value

TO = {"linear": lambda v: v, "log": log, "log1p": log1p}
BACK = {"linear": lambda u: u, "log": exp, "log1p": expm1}
SHARE = 0.004
"""Of the axis: neighbours closer than that are left alone while others are not."""


def plain_next(
    tried: list[Tried], low: float, high: float, scale: Scale, margin: float
) -> list[float]:
    """The rule as the class's docstring tells it, a neighbour at a time; several for a tie."""
    to, back = TO[scale], BACK[scale]
    length = to(high) - to(low)
    low, high = back(to(low) + margin * length), back(to(high) - margin * length)
    for end in (low, high):
        if not any(value == pytest.approx(end, rel=1e-12) for value, _ in tried):
            return [end]
    at = sorted((to(value), both) for value, both in tried)
    known = [(u, both) for u, both in at if both is not None and all(map(isfinite, both))]

    def on_the_line(u: float, i: int) -> float:
        if u <= known[0][0]:
            return known[0][1][i]
        for (u0, first), (u1, second) in pairwise(known):
            if u <= u1:
                return first[i] + (u - u0) / (u1 - u0) * (second[i] - first[i])
        return known[-1][1][i]

    areas, widths = {}, {}
    for (u0, _), (u1, _) in pairwise(at):
        middle = back((u0 + u1) / 2)
        widths[middle], areas[middle] = u1 - u0, float(bool(known))
        for i in range(2 if known else 0):
            areas[middle] *= abs(on_the_line(u1, i) - on_the_line(u0, i))
        if u1 - u0 < SHARE * (to(high) - to(low)):
            areas[middle] = 0.0
    sizes = areas if max(areas.values()) > 1e-12 else widths
    return [m for m, size in sizes.items() if size >= max(sizes.values()) * (1 - 1e-9)]


@pytest.mark.parametrize("margin", [0.0, 0.05])
@pytest.mark.parametrize("scale", ["linear", "log", "log1p"])
def test_the_plain_loop_splits_the_same_gap(scale: Scale, margin: float) -> None:
    """Each search runs on from its own proposals: some fail, some still run, some are nan."""
    draw, tied = random.Random(scale), 0
    for _ in range(25):
        low, high = draw.choice([(0.5, 80.0), (0.01, 3.0), (0.125, 1.0)])
        tried: list[Tried] = []
        for _ in range(14):
            value = next_value(tried, low, high, scale=scale, margin=margin)
            expected = plain_next(tried, low, high, scale, margin)
            assert any(value == pytest.approx(one, rel=1e-9) for one in expected)
            assert low <= value <= high and value not in [v for v, _ in tried]
            tied += len(expected) > 1
            objectives = (draw.random(), draw.random())
            nan = (objectives[0], float("nan"))
            tried.append((value, draw.choice([objectives, objectives, objectives, None, nan])))
            draw.shuffle(tried)
    assert tied < 25 * 14 / 3


FRONT = [(0.1, 0.9), (0.5, 0.5), (0.9, 0.1)]


@pytest.mark.parametrize(
    ("scale", "ends", "first", "second"),
    [
        ("linear", (0, 8), 4, 2),
        ("log", (1, 16), 4, 2),
        ("log1p", (0, 15), 3, 1),  # 1 + lam: 1, 16; then 4; then 2
        ("log", (0.01, 1), 0.1, sqrt(0.001)),  # where log and log1p are far apart
    ],
)
def test_each_axis_is_halved_on_its_own_scale(scale: Scale, ends, first, second) -> None:
    assert next_value([], *ends, scale=scale) == ends[0]
    assert next_value([(ends[0], FRONT[0])], *ends, scale=scale) == ends[1]
    tried = [(end, risks) for end, risks in zip(ends, (FRONT[0], FRONT[2]), strict=True)]
    assert next_value(tried, *ends, scale=scale) == pytest.approx(first)
    tried.append((first, (0.8, 0.2)))  # the left rectangle is the larger one
    assert next_value(tried, *ends, scale=scale) == pytest.approx(second)


@pytest.mark.parametrize(
    ("scale", "low", "high", "inside"),
    [
        ("linear", 0.0, 100.0, (5.0, 95.0)),
        ("log", 1.0, 100.0, (100**0.05, 100**0.95)),
        ("log1p", 0.0, 99.0, (100**0.05 - 1, 100**0.95 - 1)),
    ],
)
def test_a_margin_is_a_share_of_the_axis(scale: Scale, low, high, inside) -> None:
    found = [next_value([], low, high, scale=scale, margin=0.05)]
    found.append(next_value([(found[0], None)], low, high, scale=scale, margin=0.05))
    assert found == pytest.approx(list(inside))
    # Both are known now: no third end is asked for, and the middle is the axis' own.
    tried = [(value, None) for value in found]
    middle = BACK[scale]((TO[scale](low) + TO[scale](high)) / 2)
    assert next_value(tried, low, high, scale=scale, margin=0.05) == pytest.approx(middle)


def test_the_least_width_is_four_thousandths_of_the_axis() -> None:
    """Nearly all of the fall lies between neighbours that are just, or just not, too close."""

    def split(width: float, low: float, high: float) -> float:
        near = low + width * (high - low)
        tried = [(low, (0.0, 1.0)), (near, (0.9, 0.1)), (high, (1.0, 0.0))]
        return next_value(tried, low, high, scale="linear")

    for low, high in ((0.0, 100.0), (50.0, 60.0)):
        length = high - low
        assert split(0.0041, low, high) == pytest.approx(low + 0.00205 * length)
        assert split(0.0039, low, high) == pytest.approx(low + (0.0039 + 1) / 2 * length)
    # Exactly at the limit it is wide enough: .25 of 62.5 on a grid of eighths.
    tried = [(0.0, (0.0, 1.0)), (0.25, (0.9, 0.1)), (62.5, (1.0, 0.0))]
    assert next_value(tried, 0, 62.5, scale="linear") == 0.125


def test_where_all_gaps_are_too_close_the_widest_is_split_all_the_same() -> None:
    steps = 400
    tried = [(k / steps, (k / steps, 1 - k / steps)) for k in range(steps + 1) if k != 200]
    assert next_value(tried, 0, 1, scale="linear") == pytest.approx(0.5)
    every = [*tried, (0.5, (0.5, 0.5))]
    narrow = [(v, r) for v, r in every if v not in (0.25, 0.2525)]
    assert next_value(narrow, 0, 1, scale="linear") == pytest.approx((0.2475 + 0.255) / 2)


def test_objectives_may_be_of_any_scale() -> None:
    """Of a hundred and of a thousandth: shares of either's range make the rectangle."""
    tried = [(0.0, (100.0, 0.001)), (4.0, (60.0, 0.002)), (8.0, (0.0, 0.005))]
    # .4 x .25 = .1 against .6 x .75 = .45
    assert next_value(tried, 0, 8, scale="linear") == 6
    tried[1] = (4.0, (20.0, 0.004))
    # .8 x .75 = .6 against .2 x .25 = .05
    assert next_value(tried, 0, 8, scale="linear") == 2
    # Equal areas, (.5, .5) twice: the first gap is split.
    tried[1] = (4.0, (50.0, 0.003))
    assert next_value(tried, 0, 8, scale="linear") == 2


def test_an_objective_that_never_moves_leaves_the_widest_gap() -> None:
    tried = [(0.0, (0.1, 0.5)), (3.0, (0.2, 0.5)), (8.0, (0.9, 0.5))]
    assert next_value(tried, 0, 8, scale="linear") == 5.5


def test_rising_and_falling_steps_count_alike() -> None:
    tried = [(0.0, (0.5, 0.2)), (4.0, (0.4, 0.1)), (8.0, (0.6, 0.9))]
    # .5 x .125 = .0625 against 1 x 1
    assert next_value(tried, 0, 8, scale="linear") == 6
    tried = [(0.0, (0.6, 0.1)), (4.0, (0.4, 0.9)), (8.0, (0.45, 0.8))]
    assert next_value(tried, 0, 8, scale="linear") == 2


def test_a_failed_end_is_taken_for_its_nearest_neighbour() -> None:
    """Nothing is known beyond 4: the gap from 4 to 8 spans nothing there."""
    tried = [(0.0, (0.0, 1.0)), (4.0, (0.3, 0.8)), (8.0, None)]
    assert next_value(tried, 0, 8, scale="linear") == 2
    infinite = [(0.0, (0.0, 1.0)), (4.0, (0.3, 0.8)), (8.0, (float("inf"), 0.0))]
    assert next_value(infinite, 0, 8, scale="linear") == 2


def test_of_two_trials_at_one_value_the_later_one_counts() -> None:
    """Twenty-one values, tried twice, in an order that no sort leaves alone."""
    values = [(5 * k % 21) / 20 for k in range(21)]
    first: list[Tried] = [(v, (v**3, 1 - v)) for v in values]
    second: list[Tried] = [(v, (v + 3 * (v > 0.47), 1 - v)) for v in reversed(values)]
    expected = next_value(second, 0, 1, scale="linear")
    assert expected == pytest.approx(0.475)
    assert next_value([*first, *second], 0, 1, scale="linear") == expected


def optuna_study(sampler: GapSampler) -> optuna.Study:
    return optuna.create_study(directions=["minimize"] * 2, sampler=sampler)


def noted(study: optuna.Study, value: float, risks, *, log: bool = False, name: str = "lam"):
    state = TrialState.FAIL if risks is None else TrialState.COMPLETE
    axis = optuna.distributions.FloatDistribution(1, 16, log=log)
    study.add_trial(
        create_trial(state=state, values=risks, params={name: value}, distributions={name: axis})
    )


@pytest.mark.parametrize(
    ("log", "scale", "middle"),
    [(True, "log1p", 4), (False, "log", 4), (False, "linear", 8.5), (False, "log1p", sqrt(34) - 1)],
)
def test_optunas_own_log_axis_is_taken_before_the_samplers(log, scale: Scale, middle) -> None:
    study = optuna_study(GapSampler(scale=scale))
    noted(study, 1.0, (0.1, 0.9), log=log)
    noted(study, 16.0, (0.9, 0.1), log=log)
    found = study.ask().suggest_float("lam", 1, 16, log=log)
    assert found == pytest.approx(middle)


def test_the_default_axis_is_log1p_without_a_margin() -> None:
    study = optuna_study(GapSampler())
    ends = [study.ask().suggest_float("lam", 0, 15) for _ in range(3)]
    assert ends == pytest.approx([0, 15, 3])


def test_the_sampler_keeps_its_margin() -> None:
    study = optuna_study(GapSampler(scale="linear", margin=0.25))
    found = [study.ask().suggest_float("lam", 0, 8) for _ in range(3)]
    assert found == pytest.approx([2, 6, 4])


def test_failed_trials_and_those_of_other_parameters() -> None:
    """A failed trial is not tried again; one that never had the parameter says nothing."""
    study = optuna_study(GapSampler(scale="linear"))
    noted(study, 1.0, (0.1, 0.9))
    noted(study, 16.0, (0.9, 0.1))
    noted(study, 8.5, None)
    noted(study, 3.0, (0.3, 0.2), name="other")
    found = study.ask().suggest_float("lam", 1, 16)
    assert found == pytest.approx((1 + 8.5) / 2)


def test_the_study_tells_the_objectives_of_finished_trials() -> None:
    """The narrower gap spans the larger rectangle."""
    study = optuna_study(GapSampler(scale="linear"))
    for value, risks in ((1.0, (0.1, 0.9)), (5.0, (0.8, 0.2)), (16.0, (0.9, 0.1))):
        noted(study, value, risks)
    assert study.ask().suggest_float("lam", 1, 16) == pytest.approx(3)


def test_a_range_may_begin_at_zero_and_not_below() -> None:
    assert optuna_study(GapSampler()).ask().suggest_float("lam", 0, 1) == 0
    with pytest.raises(ValueError, match="float >= 0"):
        optuna_study(GapSampler()).ask().suggest_float("lam", -1e-9, 1)
    three = optuna.create_study(directions=["minimize"] * 3, sampler=GapSampler())
    with pytest.raises(ValueError, match="two objectives, got 3"):
        three.ask().suggest_float("lam", 0, 1)
    with pytest.raises(ValueError, match="float >= 0"):
        optuna_study(GapSampler()).ask().suggest_categorical("lam", ["a", "b"])
