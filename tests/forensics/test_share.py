"""Share of a mixture: closed forms of two bins, the test's level, and its power."""

import math

import numpy as np
import pytest
import torch

from fftune.forensics.detector import Auc, Detector
from fftune.forensics.share import (
    Mixture,
    drawn_counts,
    null_ratios,
    p_value,
    share_interval,
    smallest_found,
    threshold,
)


def normal(count: int, seed: int, mean: float = 0.0) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    return mean + torch.randn(count, generator=draws, dtype=torch.float64)


def two_bins(clean: float, touched: float) -> Mixture:
    """Chances of the upper of two bins."""
    return Mixture(np.array([0.0]), *(np.array([1 - p, p]) for p in (clean, touched)))


@pytest.mark.parametrize("above", [30, 50, 80])
def test_share_and_ratio_of_two_bins_have_closed_forms(above: int) -> None:
    mixture, n = two_bins(0.1, 0.9), 100
    counts = np.array([n - above, above], float)
    p = above / n
    share = (p - 0.1) / (0.9 - 0.1)
    assert float(mixture.share(counts)) == pytest.approx(share, abs=1e-6)
    ratio = above * math.log(p / 0.1) + (n - above) * math.log((1 - p) / 0.9)
    assert float(mixture.ratio(counts)) == pytest.approx(ratio, rel=1e-6)


def test_a_share_is_never_below_none_nor_above_all() -> None:
    mixture = two_bins(0.1, 0.9)
    counts = np.array([[99.0, 1.0], [1.0, 99.0]])
    assert mixture.share(counts).tolist() == pytest.approx([0, 1], abs=1e-6)
    assert float(mixture.ratio(counts[0])) == pytest.approx(0, abs=1e-6)


def test_scores_are_counted_in_bins_with_the_edge_below() -> None:
    mixture = Mixture(np.array([1.0, 2.0]), np.ones(3), np.ones(3))
    scores = torch.tensor([0.0, 1.0, 1.5, 2.0, 9.0], dtype=torch.float64)
    assert mixture.counts(scores).tolist() == [2, 2, 1]


def test_clean_sets_are_called_touched_as_seldom_as_promised() -> None:
    rng, alarms = np.random.default_rng(0), []
    for seed in range(60):  # held-out sets, each with sets of the same population
        clean = normal(1500, seed)
        mixture = Mixture.of(clean[:500], clean[:200] + 3)
        bar = threshold(null_ratios(mixture, mixture.counts(clean[500:]), 300, rng))
        edges = torch.from_numpy(mixture.edges)
        below = torch.cat([torch.zeros(1), torch.special.ndtr(edges), torch.ones(1)])
        sets = rng.multinomial(300, below.diff().numpy(), size=200).astype(float)
        alarms.append(float((mixture.ratio(sets) > bar).mean()))
    assert np.mean(alarms) < 0.065


def test_a_bin_that_is_empty_by_luck_is_not_empty_for_good() -> None:
    drawn = drawn_counts(np.array([100.0, 0.0]), 1000, np.random.default_rng(0), sets=200)
    assert (drawn.sum(1) == 1000).all()
    assert 0.2 < float((drawn[:, 1] > 0).mean()) < 0.95
    assert float(drawn[:, 1].mean()) == pytest.approx(1000 * 0.5 / 101, rel=0.4)


def test_a_p_value_counts_the_set_itself() -> None:
    nulls = np.array([0.0, 1.0, 2.0, 3.0])
    assert p_value(2.0, nulls) == 3 / 5
    assert p_value(9.0, nulls) == 1 / 5
    many = np.arange(199.0)
    bar = threshold(many)
    assert p_value(bar + 1e-9, many) <= 0.05 < p_value(bar, many)


def test_the_smallest_share_is_where_power_reaches_four_fifths() -> None:
    clean = normal(400, 0)
    far, none = clean[:100] + 20, clean[:100] - 30
    mixture = Mixture.of(clean, far)
    pool = mixture.counts(clean)
    bar = threshold(null_ratios(mixture, pool, 300, np.random.default_rng(0)))
    ask = {"clean": pool, "size": 300, "bar": bar, "seed": 0}
    least = smallest_found(mixture, touched=mixture.counts(far), **ask)
    assert least is not None
    assert 1 <= least <= 8
    assert smallest_found(mixture, touched=mixture.counts(none), **ask) is None
    assert smallest_found(mixture, touched=mixture.counts(none[:0]), **ask) is None


def test_the_interval_of_a_share_holds_it() -> None:
    clean, friends = normal(500, 3), normal(100, 4, mean=6)
    mixture = Mixture.of(clean, friends)
    pools = [mixture.counts(one) for one in (clean, friends)]
    counts = mixture.counts(torch.cat([clean[:160], friends[:40]]))
    low, high = share_interval(mixture, counts, *pools, np.random.default_rng(0))
    assert 0.1 < low < 0.2 < high < 0.3
    quiet = mixture.counts(clean[:200])
    assert share_interval(mixture, quiet, *pools, np.random.default_rng(0))[0] == 0


def test_the_area_under_the_roc_counts_pairs() -> None:
    clean, touched = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 3.0])
    auc = Auc.of(clean, touched)
    assert auc.value == (1.5 + 3) / 6
    low, high = auc.interval
    assert 0 < low < auc.value < high < 1
    perfect = Auc.of(torch.zeros(50), torch.ones(50))
    assert perfect.value == 1
    assert 0.9 < perfect.interval[0] < 1 == round(perfect.interval[1], 6)
    assert math.isnan(Auc.of(clean, touched[:0]).value)


def test_whatever_is_far_from_clean_looks_touched_on_either_side() -> None:
    draws = torch.Generator().manual_seed(0)
    clean = torch.randn(300, 2, generator=draws)
    friends = 4 + 2 * torch.randn(100, 2, generator=draws)
    detector = Detector.of(clean, [friends])
    scores = detector(torch.tensor([[0.0, 0.0], [4.0, 4.0], [-9.0, -9.0]]))
    assert scores[0] < 0 < scores[1]
    assert scores[2] > 0, "a trace that is turned round"
