import math
from itertools import combinations_with_replacement, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fftune.pareto import (
    common_range,
    cost_to_reach,
    curve_at,
    front_ranks,
    gap_at,
    hypervolume,
    monotonicity_violations,
    non_dominated,
)

POINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12)


def test_by_hand() -> None:
    points = [(0.1, 0.9), (0.2, 0.5), (0.3, 0.6), (0.2, 0.5), (0.9, 0.1), (0.1, math.nan)]
    assert non_dominated(points).tolist() == [True, True, False, True, True, False]


@given(POINTS)
def test_fronts_are_those_of_brute_force(points) -> None:
    def beats(a, b) -> bool:
        return a[0] <= b[0] and a[1] <= b[1] and a != b

    expected = [not any(beats(b, a) for b in points) for a in points]
    assert non_dominated(points).tolist() == expected


@given(POINTS)
def test_hypervolume_counts_the_cells_below_the_staircase(points) -> None:
    covered = sum(any(x <= i and y <= j for x, y in points) for i in range(10) for j in range(10))
    assert hypervolume(points, (10, 10)) == pytest.approx(covered)


@pytest.mark.parametrize("n", [1, 2, 5, 50])
def test_hypervolume_of_a_staircase(n: int) -> None:
    """Points (i, n - 1 - i) below (n, n) dominate n^2 - n(n - 1)/2 cells."""
    stairs = [(i, n - 1 - i) for i in range(n)]
    assert hypervolume(stairs, (n, n)) == n * n - n * (n - 1) / 2


def test_points_that_add_nothing() -> None:
    assert hypervolume([]) == 0
    assert hypervolume([(1.0, 0.0), (0.0, 1.0), (math.inf, 0), (math.nan, 0)]) == 0
    assert hypervolume([(0.5, 0.5), (0.5, 0.5), (0.6, 0.6)]) == pytest.approx(0.25)
    assert hypervolume(np.empty((0, 2))) == 0
    assert hypervolume([(0.5, 0.5), (0.2, 3.0), (3.0, 0.2)]) == 0.25
    assert hypervolume([(1.0, -math.inf)]) == 0
    assert hypervolume([(1, 1)], (3, 5)) == 2 * 4


def test_hypervolume_cases_of_optuna() -> None:
    """Its published 2-D cases: infinities, nan, duplicates, the empty set, points on the edge."""
    assert hypervolume([(-math.inf, 0.5)]) == math.inf
    assert hypervolume([(-math.inf, -math.inf), (0.1, 0.1)]) == math.inf
    assert hypervolume([(math.inf, -math.inf)]) == 0
    assert hypervolume([(math.nan, 0.1), (0.5, 0.5)]) == pytest.approx(0.25)
    stairs = [(i, 4 - i) for i in range(5)]
    assert hypervolume(stairs * 3, (5, 5)) == hypervolume(stairs, (5, 5)) == 25 - 10
    assert hypervolume([*stairs, (5, 0), (0, 5), (6, 6)], (5, 5)) == 15
    assert hypervolume([(0, 0)], (0, 0)) == 0


@given(POINTS)
def test_ranks_peel_front_after_front(points) -> None:
    ranks = front_ranks(np.array(points, dtype=float).reshape(-1, 2))
    left = list(range(len(points)))
    rank = 0
    while left:
        front = non_dominated([points[i] for i in left])
        found = [i for i, on in zip(left, front, strict=True) if on]
        assert all(ranks[i] == rank for i in found)
        left, rank = [i for i in left if i not in found], rank + 1


def test_what_is_no_number_comes_after_every_front() -> None:
    points = [(math.nan, 0), (1, 1), (0, 0), (0, math.nan)]
    assert front_ranks(points).tolist() == [2, 1, 0, 2]
    assert front_ranks([(math.nan, 0)]).tolist() == [0]
    assert front_ranks(np.empty((0, 2))).tolist() == []
    assert front_ranks([]).tolist() == non_dominated([]).tolist() == []
    assert non_dominated([]).dtype == bool


def test_a_risk_that_was_not_measured_is_no_number() -> None:
    """As JSON has it: None is nan, on no front, at no place of a curve, and of unknown cost."""
    points = [(0.5, 0.5), (0.0, None), (None, 0.0)]
    assert non_dominated(points).tolist() == [True, False, False]
    assert front_ranks(points).tolist() == [0, 1, 1]
    assert hypervolume(points) == 0.25
    assert curve_at([(0.0, 1.0), (1.0, 0.0)], [0.25, None]).tolist()[0] == 0.75
    assert cost_to_reach([(0.5, 0.5), (0.2, 0.2)], [2, None], share=0.3) == 2


def test_ranks_in_three_dimensions_by_hand() -> None:
    points = [(0, 0, 1), (1, 1, 1), (0, 1, 0), (2, 2, 2), (math.nan, 0, 0)]
    assert front_ranks(points).tolist() == [0, 1, 0, 2, 3]


STAIRS = [(0.1, 0.9), (0.5, 0.3), (0.3, 0.5)]


def test_a_curve_runs_between_the_members_and_ends_with_them() -> None:
    found = curve_at(STAIRS, [0.05, 0.1, 0.2, 0.4, 0.5, 0.6])
    np.testing.assert_allclose(found, [np.nan, 0.9, 0.7, 0.4, 0.3, np.nan])
    assert np.isnan(curve_at([], [0.1])).all()


def test_a_curve_keeps_the_members_that_new_data_beat() -> None:
    found = curve_at([*STAIRS, (0.4, 0.8), (0.3, 0.9)], [0.3, 0.35, 0.4, 0.45])
    np.testing.assert_allclose(found, [0.5, 0.65, 0.8, 0.55])


def test_fronts_are_compared_in_their_common_range_only() -> None:
    other = [(0.2, 0.8), (0.6, 0.4)]
    assert common_range(STAIRS, other) == (0.2, 0.5)
    np.testing.assert_allclose(gap_at(STAIRS, other, [0.2, 0.4, 0.55]), [-0.1, -0.2, np.nan])
    np.testing.assert_allclose(gap_at(other, STAIRS, [0.2, 0.4]), [0.1, 0.2])
    apart = common_range(STAIRS, [(0.7, 0.1), (0.9, 0.0)])
    assert all(map(math.isnan, apart)) and all(map(math.isnan, common_range(STAIRS, [])))


def plain_curve(members: list[tuple[float, float]], at: float) -> float:
    """The lower of two members at one risk; a straight line between neighbours; else nan."""
    best: dict[float, float] = {}
    for x, y in members:
        best[x] = min(y, best.get(x, math.inf))
    if at in best:
        return best[at]
    below, above = [x for x in best if x < at], [x for x in best if x > at]
    if not below or not above:
        return math.nan
    left, right = max(below), min(above)
    share = (at - left) / (right - left)
    return (1 - share) * best[left] + share * best[right]


def test_curves_of_every_three_members_are_lines_between_the_lower_ones() -> None:
    """On a grid of 3 x 3, in any order: ties in the first risk, in the second, in both."""
    at = [-0.5, 0, 0.5, 1, 1.25, 2, 2.5]
    for members in product(product(range(3), repeat=2), repeat=3):
        expected = [plain_curve(list(members), a) for a in at]
        np.testing.assert_allclose(curve_at(members, at), expected)


def test_common_ranges_of_every_two_fronts() -> None:
    """Of fronts on a grid of four first risks: from the larger low end to the smaller high one."""
    ends = list(combinations_with_replacement(range(4), 2))
    for (a, b), (c, d) in product(ends, repeat=2):
        shared = [risk for risk in range(4) if a <= risk <= b and c <= risk <= d]
        low, high = common_range([(b, 0), (a, 1)], [(c, 1), (d, 0)])
        if shared:
            assert (low, high) == (shared[0], shared[-1])
            assert isinstance(low, float) and isinstance(high, float)
        else:
            assert math.isnan(low) and math.isnan(high)


def test_a_curve_has_the_shape_of_the_risks_it_is_asked_at() -> None:
    assert curve_at([], [0.1, 0.2]).shape == (2,)
    assert curve_at(STAIRS, []).shape == (0,)
    assert np.isnan(gap_at([], STAIRS, [0.2])).all()
    low, high = common_range([], STAIRS)
    assert math.isnan(low) and math.isnan(high)


def test_published_gap_at_equal_natural_risk() -> None:
    """CIFAR-10: THRM with lambda 40 against TRADES with lambda 5 and 10."""
    thrm, trades = [(18.81, 69.06)], [(17.94, 76.81), (20.51, 69.82)]
    assert gap_at(thrm, trades, [18.81]) == pytest.approx(-5.4, abs=0.05)


def test_cost_to_reach_a_share_of_the_front() -> None:
    """Hypervolumes .25, .25, .6: 95 % of the last is there with the last trial only."""
    points = [(0.5, 0.5), (0.6, 0.6), (0.2, 0.25)]
    assert cost_to_reach(points, [1, 2, 4]) == 7
    assert cost_to_reach(points, [1, 2, 4], share=0.4) == 1


def test_a_share_that_is_reached_exactly_is_reached() -> None:
    """Hypervolumes .25, .5 and .5: half of the last one is there with the first trial."""
    points = [(0.5, 0.5), (0.5, 0.0), (0.9, 0.9)]
    assert cost_to_reach(points, [3, 5, 7], share=0.5) == 3
    assert cost_to_reach(points, [3, 5, 7], share=0.50001) == 8
    assert cost_to_reach(points, [3, 5, 7]) == 8
    assert math.isnan(cost_to_reach([], []))


def test_by_default_a_share_is_95_percent() -> None:
    """Hypervolumes .9401, .9506 and 1 of a unit square that the last point spans."""
    points = [(0.0, 0.0599), (0.0, 0.0494), (0.0, 0.0)]
    assert cost_to_reach(points, [1, 1, 1]) == 2


def test_monotone_is_also_what_stands_still() -> None:
    """More lambda that changes nothing breaks nothing; either risk alone may break it."""
    assert monotonicity_violations([(1, 5), (1, 5), (2, 5), (2, 4)]) == []
    assert monotonicity_violations([(2, 5), (1, 5)]) == [(0, 1)]
    assert monotonicity_violations([(1, 5), (1, 6)]) == [(0, 1)]
    assert monotonicity_violations([(1, 5), (2, 6), (1, 4), (0, 9)]) == [(0, 1), (1, 2), (2, 3)]
    assert monotonicity_violations([(1, 5)]) == []


def test_monotonicity_violations_are_those_of_the_paper() -> None:
    """P1, THRM: Tiny-ImageNet from lambda 5 to 10, CIFAR-10 from 1 to 5."""
    tiny = [(37.46, 74.11), (42.09, 52.17), (40.46, 56.03), (41.64, 41.62)]
    assert monotonicity_violations(tiny) == [(1, 2)]
    assert monotonicity_violations([(5.9, 94.92), (8.75, 96.0), (9.88, 93.02)]) == [(0, 1)]
