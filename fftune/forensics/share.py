"""Share of touched images in a set, from its scores: estimate, interval, test and power.

A set is a mixture of clean images and touched ones. Scores are counted in bins, whose chances come
from clean held-out images and from our own friends; the share of largest likelihood and its
likelihood ratio against "none" follow. What ratio a clean set may have is told by drawn clean sets
of the same size, not by theory.

A drawn set has chances of its own: those of the held-out images as far as these tell them, a
Dirichlet distribution with half a count more in every bin (Jeffreys). Without that, a bin that is
empty by luck would be empty in every set that is drawn.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

QUANTILES = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)
"""Quantiles of clean scores that part the bins; the last bin is above all clean images."""
SETS = 200
"""Drawn sets of each kind."""
FALSE_ALARMS = 0.05
POWER = 0.8
PRIOR = 0.5
"""Count that every bin is given beside its own."""
BISECTIONS = 40
NONE = 1e-9
"""Share below which it is 0, of which bisection leaves a little."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Bins of scores, and the chance of each under clean and under touched images."""

    edges: Array
    """(K - 1,) ascending."""
    clean: Array
    touched: Array
    """(K,) chances."""

    @classmethod
    def of(cls, clean: Tensor, touched: Tensor) -> "Mixture":
        """Count (N,) scores of clean images and (M,) of friends; half a count more in every bin."""
        edges = np.unique(np.quantile(clean.double().numpy(), QUANTILES))
        bare = cls(edges, np.empty(0), np.empty(0))
        each = (bare.counts(scores) + PRIOR for scores in (clean, touched))
        return cls(edges, *(one / one.sum() for one in each))

    def counts(self, scores: Tensor) -> Array:
        """(K,) numbers of (N,) scores in each bin; an edge belongs to the bin below it."""
        bins = np.searchsorted(self.edges, scores.double().numpy())
        return np.bincount(bins, minlength=len(self.edges) + 1).astype(np.float64)

    def share(self, counts: Array) -> Array:
        """(...) share of touched images of largest likelihood, in [0, 1], of (..., K) counts."""
        low = np.zeros(counts.shape[:-1])
        high = np.ones_like(low)
        for _ in range(BISECTIONS):  # the likelihood is concave, so its slope falls
            middle = (low + high) / 2
            slope = counts * (self.touched - self.clean) / self._mixed(middle)
            rising = slope.sum(-1) > 0
            low, high = np.where(rising, middle, low), np.where(rising, high, middle)
        share = (low + high) / 2
        return np.where(share < NONE, 0.0, share)

    def ratio(self, counts: Array) -> Array:
        """(...) log likelihood ratio of the best share to none, >= 0."""
        gain = np.log(self._mixed(self.share(counts))) - np.log(self.clean)
        return np.asarray(np.maximum((counts * gain).sum(-1), 0.0))

    def _mixed(self, share: Array) -> Array:
        """(..., K) chances in a set with these shares."""
        return (1 - share[..., None]) * self.clean + share[..., None] * self.touched


def drawn_counts(
    pool: Array, size: int, rng: np.random.Generator, sets: int = SETS, prior: float = PRIOR
) -> Array:
    """(sets, K) counts of sets of `size` images of the population that a pool came from.

    Args:
        pool: (K,) counts of the pool.
    """
    chances = rng.dirichlet(pool + prior, size=sets)
    return rng.multinomial(size, chances).astype(np.float64)


def null_ratios(
    mixture: Mixture, pool: Array, size: int, rng: np.random.Generator, sets: int = SETS
) -> Array:
    """(sets,) ratios of drawn clean sets."""
    return mixture.ratio(drawn_counts(pool, size, rng, sets))


def p_value(ratio: float, nulls: Array) -> float:
    """Share of clean sets with such a ratio, the set at hand among them (Davison and Hinkley)."""
    return (1 + int((nulls >= ratio).sum())) / (1 + len(nulls))


def threshold(nulls: Array) -> float:
    """Smallest ratio that at most 5 % of clean sets exceed, as `p_value` has it."""
    allowed = int(FALSE_ALARMS * (1 + len(nulls))) - 1
    return float(np.sort(nulls)[::-1][allowed])


def share_interval(
    mixture: Mixture,
    counts: Array,
    clean: Array,
    touched: Array,
    rng: np.random.Generator,
    sets: int = SETS,
) -> tuple[float, float]:
    """95 % percentile interval of the share: the set, clean images and friends drawn anew.

    Args:
        counts, clean, touched: (K,) of the set, and of those that the chances were counted from.
    """
    found = []
    for again in rng.multinomial(int(counts.sum()), counts / counts.sum(), size=sets):
        chances = (rng.dirichlet(pool + PRIOR) for pool in (clean, touched))
        drawn = Mixture(mixture.edges, *(np.maximum(one, 1e-12) for one in chances))
        found.append(drawn.share(again.astype(np.float64)))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def power_at(
    mixture: Mixture,
    count: int,
    *,
    clean: Array,
    touched: Array,
    size: int,
    bar: float,
    rng: np.random.Generator,
    sets: int = SETS,
) -> float:
    """Share of drawn sets, `count` of whose images are touched, that exceed the threshold.

    Args:
        clean, touched: (K,) counts of pools; friends are drawn as they are, without a prior that
            would make some of them look clean.
    """
    drawn = drawn_counts(clean, size - count, rng, sets)
    drawn += drawn_counts(touched, count, rng, sets, prior=1e-6)
    return float((mixture.ratio(drawn) > bar).mean())


def smallest_found(
    mixture: Mixture,
    *,
    clean: Array,
    touched: Array,
    size: int,
    bar: float,
    seed: int,
    sets: int = SETS,
) -> int | None:
    """Smallest number of touched images in a set of `size` that is found with power 0.8.

    None where even a set of nothing else is not found so often.
    """
    if not touched.sum():
        return None
    pools = {"clean": clean, "touched": touched, "size": size, "bar": bar, "sets": sets}

    def found(count: int) -> bool:
        rng = np.random.default_rng(seed)
        return power_at(mixture, count, rng=rng, **pools) >= POWER  # type: ignore[arg-type]

    low, high = 0, size
    if not found(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high
