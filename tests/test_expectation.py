from itertools import product
from math import isnan, sqrt

import numpy as np
import pytest

from fftune.expectation import Expectation, MeanGain, means, plain_expectation
from fftune.risk import Rate, wilson


def test_a_ratio_of_means_by_hand() -> None:
    """(1 x 1 + 1/2 x 0 + 1/4 x 1/2) / 1.75 = 9/14, of three images; the fourth has no weight."""
    found = Expectation.of([1, 0, 0.5, 1], [1, 0.5, 0.25, 0])
    assert found.value == pytest.approx(9 / 14)
    assert (found.weight, found.n) == (1.75, 3)
    # Residuals 5/14, -9/14 and -2/14, times their weights, squared: (25 + 20.25 + .25) / 14^2.
    told = 1.75**2 * (9 / 14) * (5 / 14) / (45.5 / 196)
    assert told > 1.75**2 / (1 + 0.25 + 0.0625)  # no more than the weights allow
    assert found.effective == pytest.approx(1.75**2 / 1.3125)
    assert found.interval == wilson(found.value, found.effective)


def test_images_that_differ_more_than_their_share_tells_are_worth_fewer() -> None:
    """The image that weighs most is far from the mean here."""
    found = Expectation.of([0] + [1] * 10, [1] + [0.3] * 10)
    assert found.value == pytest.approx(0.75) and found.weight == pytest.approx(4)
    spread = 0.75**2 + 10 * (0.3 * 0.25) ** 2
    assert found.effective == pytest.approx(16 * 0.75 * 0.25 / spread)
    assert found.effective < 16 / 1.9


@pytest.mark.parametrize("won", [0, 3, 20, 37, 40])
def test_without_chance_it_is_wilsons_interval(won: int) -> None:
    shares, weights = [1] * won + [0] * (40 - won) + [1] * 5, [1] * 40 + [0] * 5
    found, rate = Expectation.of(shares, weights), Rate(won, 40)
    assert found.value == pytest.approx(rate.value)
    assert found.interval == pytest.approx(rate.interval)
    assert (found.n, found.weight, found.effective) == (40, 40, pytest.approx(40))


def test_draws_of_one_image_are_no_further_images() -> None:
    """Were each of 10 draws an example, the interval would be that of n = 40."""
    found = Expectation.of([0.5, 0.5, 0.5, 0.5], [1, 1, 1, 1])
    assert found.interval == wilson(0.5, 4)
    none, all_ = (Expectation.of([share] * 4, [1] * 4) for share in (0, 1))
    assert none.interval == Rate(0, 4).interval and all_.interval == Rate(4, 4).interval


@pytest.mark.parametrize("draws", [1, 3, 9])
def test_intervals_cover_as_often_as_they_say(draws: int) -> None:
    """Images come with a chance of their own each; what is known is the mean over all images."""
    rng = np.random.default_rng(draws)
    doubt, win = np.array([0.1, 0.5, 0.9, 1.0]), np.array([0.9, 0.5, 0.2, 0.05])
    truth, covered, runs = float((doubt * win).sum() / doubt.sum()), 0, 400
    for _ in range(runs):
        kind = rng.integers(4, size=80)
        weights = rng.binomial(draws, doubt[kind]) / draws
        shares = rng.binomial(draws, win[kind]) / draws
        low, high = Expectation.of(shares.tolist(), weights.tolist()).interval
        covered += low <= truth <= high
    assert covered / runs > 0.95 - 3 * sqrt(0.95 * 0.05 / runs)


@pytest.mark.parametrize("seed", range(5))
def test_an_interval_lies_around_its_share(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shares, weights = rng.integers(4, size=(2, 12)) / 3
    found = Expectation.of(shares.tolist(), weights.tolist())
    low, high = found.interval
    assert 0 <= low <= found.value <= high <= 1
    order = rng.permutation(12)
    again = Expectation.of(shares[order].tolist(), weights[order].tolist())
    assert again.interval == pytest.approx(found.interval)


def test_nothing_is_undefined_and_not_zero() -> None:
    for shares, weights in (([], []), ([1.0], [0.0])):
        found = Expectation.of(shares, weights)
        assert isnan(found.value) and all(map(isnan, found.interval))
        assert str(found) == "undefined (n = 0)"
        assert plain_expectation(found)["value"] is None
        assert means({"x": found}) == {}


def test_it_is_told_with_its_images() -> None:
    found = Expectation.of([0.5, 0.5, 1, 0], [1, 1, 1, 1])
    low, high = wilson(0.5, 4)
    assert str(found) == f"50.0% (95 % CI {low:.1%} to {high:.1%}, 4 images)"
    plain = {"weight": 4, "n": 4, "value": 0.5, "low": low, "high": high}
    assert plain_expectation(found) == plain and means({"x": found}) == {"x": 0.5}


def test_a_mean_gain_by_hand() -> None:
    """Two images more: +1/2, -1/2 squared as one of 1, and 0."""
    found = MeanGain.of([1, 0.5, -0.5, 0])
    assert (found.value, found.n) == (0.25, 4)
    middle, square = 1 / 6, (1 + 0.25 + 0.25 + 1) / 6
    half = 1.959963984540054 * sqrt((square - middle**2) / 6)
    assert (found.low, found.high) == pytest.approx((middle - half, middle + half))
    assert str(found).startswith("+25.0 points (95 % CI -") and str(found).endswith("n = 4)")
    most = MeanGain.of([-1, -1, -1, 0])  # -1/2 - .517 would be a loss of more than all
    assert most.low == -1 and most.high == pytest.approx(-0.5 + 0.517, abs=1e-3)
    nothing = MeanGain.of([])
    assert nothing.n == 0 and isnan(nothing.value) and str(nothing) == "undefined (n = 0)"


def test_a_gain_turned_round_is_its_opposite() -> None:
    for differences in product((-1, 0, 0.5), repeat=3):
        one, other = MeanGain.of(differences), MeanGain.of([-d for d in differences])
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
        assert one.low < one.high
