from itertools import product
from math import comb, exp, inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaln

from fftune.errors import ConfigError
from fftune.sequential import SCALE, FiniteSequence, beyond


def bounds(population: int, ones: int, zeros: int, alpha: float = 0.05) -> tuple[int, int]:
    """Bounds of a single look."""
    sequence = FiniteSequence(population=population, low_alpha=alpha, high_alpha=alpha)
    sequence.look(ones=ones, zeros=zeros)
    return sequence.low, sequence.high


def left_by_definition(population: int, ones: int, zeros: int, alpha: float) -> list[int]:
    """Candidates that the formula of the module leaves to `high`, in plain arithmetic."""
    n = ones + zeros

    def likelihood(total: int) -> float:
        if not ones <= total <= population - zeros:
            return 0.0
        return comb(population - n, total - ones) / comb(population, total)

    left = []
    for candidate in range(population + 1):
        weights = [exp((k - candidate) / (SCALE * population)) for k in range(candidate)]
        pairs = [w * likelihood(k) for k, w in enumerate(weights)]
        if (own := likelihood(candidate)) and sum(pairs) < sum(weights) * own / alpha:
            left.append(candidate)
        if own and not candidate:
            left.append(0)
    return left


def chance_of_a_miss(population: int, truth: int, alpha: float) -> tuple[float, float]:
    """Exact probability, over all orders, that `low` or `high` misses the truth at any look."""
    missed = [0.0, 0.0]
    for side in (0, 1):
        alive = {0: 1.0}
        for n in range(population):
            after: dict[int, float] = {}
            for k, share in alive.items():
                one = (truth - k) / (population - n)
                for more, chance in ((1, one), (0, 1 - one)):
                    if chance:
                        after[k + more] = after.get(k + more, 0.0) + share * chance
            alive = {}
            for k, share in after.items():
                low, high = bounds(population, k, n + 1 - k, alpha)
                if (low > truth) if side == 0 else (high < truth):
                    missed[side] += share
                else:
                    alive[k] = share
    return missed[0], missed[1]


@pytest.mark.parametrize("alpha", [0.05, 0.3])
def test_a_look_after_every_example_misses_no_truth_more_often_than_alpha(alpha: float) -> None:
    chances = [chance_of_a_miss(24, truth, alpha) for truth in range(25)]
    assert max(map(max, chances)) <= alpha
    assert max(low for low, _ in chances) > alpha / 3  # bounds that never miss would be too wide
    assert max(high for _, high in chances) > alpha / 3


def test_bounds_are_those_of_the_formula() -> None:
    for population, alpha in product((1, 2, 9, 30), (0.29, 0.051)):
        for ones, zeros in product(range(population + 1), repeat=2):
            if ones + zeros <= population:
                _, high = bounds(population, ones, zeros, alpha)
                assert high == max(left_by_definition(population, ones, zeros, alpha))


@given(st.integers(1, 400), st.data())
def test_bounds_mirror_each_other_hold_what_was_seen_and_rise_with_ones(
    population: int, data: st.DataObject
) -> None:
    n = data.draw(st.integers(1, population))
    ones = data.draw(st.integers(0, n - 1))
    low, high = bounds(population, ones, n - ones)
    assert ones <= low <= high <= population - (n - ones)
    assert bounds(population, n - ones, ones) == (population - high, population - low)
    more_low, more_high = bounds(population, ones + 1, n - ones - 1)
    assert low <= more_low
    assert high <= more_high


def test_the_last_example_makes_the_number_exact() -> None:
    assert bounds(1000, 300, 700) == (300, 300)
    assert bounds(1, 1, 0) == (1, 1)
    assert bounds(1, 0, 0) == (0, 1)


def test_unresolved_examples_count_against_both_bounds() -> None:
    sequence = FiniteSequence(population=500)
    sequence.look(ones=20, zeros=100, unresolved=30)
    assert sequence.low == bounds(500, 20, 130)[0]
    assert sequence.high == bounds(500, 50, 100)[1]
    assert sequence.examined == 150
    whole = FiniteSequence(population=4)
    whole.look(ones=1, zeros=2, unresolved=1)
    assert (whole.low, whole.high) == (1, 2)


def test_bounds_never_become_wider() -> None:
    sequence = FiniteSequence(population=1000)
    sequence.look(ones=0, zeros=60)
    narrow = sequence.high
    sequence.look(ones=40, zeros=60)
    assert bounds(1000, 40, 60)[1] > narrow == sequence.high


@pytest.mark.parametrize(
    ("ones", "zeros", "unresolved"), [(-1, 3, 0), (3, -1, 0), (3, 3, -1), (6, 4, 1)]
)
def test_impossible_counts_are_refused(ones: int, zeros: int, unresolved: int) -> None:
    with pytest.raises(ValueError, match="examples of 10"):
        FiniteSequence(population=10).look(ones=ones, zeros=zeros, unresolved=unresolved)


@pytest.mark.parametrize(
    "settings",
    [
        {"population": 0},
        {"population": 10, "low_alpha": 1.0},
        {"population": 10, "high_alpha": float("nan")},
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        FiniteSequence(**settings)


@pytest.mark.parametrize(("ones", "n"), [(0, 1), (0, 100), (30, 100), (100, 100), (412, 5000)])
def test_the_population_bounds_solve_their_equation(ones: int, n: int) -> None:
    low, high = beyond(ones, n)
    assert 0 <= low <= ones / n <= high <= 1
    for edge, outer in ((low, 0.0), (high, 1.0)):
        if edge != outer:
            mixture = betaln(ones + 0.5, n - ones + 0.5) - betaln(0.5, 0.5)
            likelihood = ones * np.log(edge) if ones else 0.0
            likelihood += (n - ones) * np.log1p(-edge) if ones < n else 0.0
            assert mixture - likelihood == pytest.approx(np.log(20), abs=1e-6)
    assert (low == 0) == (ones == 0)
    assert (high == 1) == (ones == n)


def test_nothing_is_known_of_a_population_that_was_not_looked_at() -> None:
    assert beyond(0, 0) == (0.0, 1.0)


def test_the_population_bounds_hold_at_every_draw() -> None:
    rng, missed, runs, n = np.random.default_rng(0), 0, 400, 60
    table = np.full((n + 1, n + 1, 2), (-inf, inf))
    for k, m in product(range(n + 1), repeat=2):
        if k <= m and m:
            table[k, m] = beyond(k, m)
    for _ in range(runs):
        counts = np.cumsum(rng.random(n) < 0.3)
        low, high = table[counts, np.arange(1, n + 1)].T
        missed += bool(((low > 0.3) | (high < 0.3)).any())
    assert missed <= 0.05 * runs
