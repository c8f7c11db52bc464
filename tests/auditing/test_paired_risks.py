from math import sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

from fftune.auditing import paired_risks
from fftune.auditing.paired_risks import Answers, PairedRisk


def drawn(
    shares: list[list[float]], n: int, rng: np.random.Generator, *, lower: bool = True
) -> PairedRisk:
    """A pair of nets by the shares of the nine kinds: not counted, not hit, hit; of either net."""
    kinds = rng.choice(9, size=n, p=np.ravel(shares))
    return of_kinds(kinds // 3, kinds % 3, lower=lower)


def of_kinds(before: NDArray[np.int64], after: NDArray[np.int64], *, lower: bool) -> PairedRisk:
    answers = (Answers(of=kind > 0, hit=kind == 2) for kind in (before, after))
    return PairedRisk(before=next(answers), after=next(answers), lower_is_better=lower)


# Right answers of two nets: .85 and .80, .77 in common.
ACCURACIES = [[0, 0, 0], [0, 0.12, 0.03], [0, 0.08, 0.77]]
# Mistakes: .2 of each net, .15 in common; concealed .3 of the first's, .4 of the second's.
MISTAKES = [[0.75, 0.03, 0.02], [0.03, 0.08, 0.03], [0.02, 0.01, 0.03]]


@pytest.mark.parametrize(
    ("shares", "lower", "truth"), [(ACCURACIES, False, -0.05), (MISTAKES, True, -0.1)]
)
def test_intervals_miss_a_loss_at_either_end_in_one_of_forty(
    shares, lower: bool, truth: float, monkeypatch
) -> None:
    monkeypatch.setattr(paired_risks, "DRAWS", 400)
    rng, runs = np.random.default_rng(2), 300
    shares = np.asarray(shares) / np.sum(shares)
    first, second = shares.sum(axis=1), shares.sum(axis=0)
    gain = second[2] / second[1:].sum() - first[2] / first[1:].sum()
    assert (-gain if lower else gain) == pytest.approx(truth)
    ends = np.array([drawn(shares, 500, rng, lower=lower).interval() for _ in range(runs)])
    margin = 3 * sqrt(0.025 * 0.975 / runs)
    for missed in (ends[:, 0] > truth, ends[:, 1] < truth):
        assert 0.005 < missed.mean() < 0.025 + margin


def test_a_bootstrap_of_many_is_as_wide_as_the_delta_method_says() -> None:
    pair = drawn(MISTAKES, 20_000, np.random.default_rng(0))
    # Variance of a difference of two ratios of means, by the residuals of each example.
    residuals = [(net.hit & net.of) - net.rate.value * net.of for net in (pair.before, pair.after)]
    parts = [r / net.of.mean() for r, net in zip(residuals, (pair.before, pair.after), strict=True)]
    half = 1.96 * (parts[0] - parts[1]).std() / sqrt(20_000)
    low, high = pair.interval()
    assert (low, high) == pytest.approx((pair.gain - half, pair.gain + half), abs=0.07 * half)
    wide_low, wide_high = pair.interval(0.01)
    assert wide_low < low < high < wide_high


def test_thirty_mistakes_without_a_difference_do_not_prove_equality() -> None:
    kinds = np.array([0] * 300 + [1] * 20 + [2] * 10)
    low, high = of_kinds(kinds, kinds, lower=True).interval()
    assert low < -0.05 and high > 0.05
    # None of 30 differ: with .95 ** 30 = .21 even where 1 in 20 does
    assert of_kinds(kinds, kinds, lower=True).gain == 0
