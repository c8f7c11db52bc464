import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fftune.pareto import hypervolume, non_dominated

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
