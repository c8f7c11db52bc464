"""Share of touched images in a set, from its scores: estimate, interval, test and power.

A set is a mixture of clean images and touched ones. Scores are counted in bins, whose chances come
from clean held-out images and from our own friends; the share of largest likelihood and its
likelihood ratio against "none" follow. What ratio a clean set may have is told by resampled clean
sets of the same size, not by theory.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

QUANTILES = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)
"""Quantiles of clean scores that part the bins; the last bin is above all clean images."""
SETS = 200
"""Resampled sets of each kind."""
FALSE_ALARMS = 0.05
POWER = 0.8
BISECTIONS = 40


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Bins of scores, and the chance of each under clean and under touched images."""

    edges: Tensor
    """(K - 1,) ascending."""
    clean: Tensor
    touched: Tensor
    """(K,) chances."""

    @classmethod
    def of(cls, clean: Tensor, touched: Tensor) -> "Mixture":
        """Count (N,) scores of clean images and (M,) of friends; half a count more in every bin."""
        chances = torch.tensor(QUANTILES, dtype=clean.dtype)
        edges = torch.quantile(clean, chances).unique()
        empty = torch.zeros(len(edges) + 1, dtype=torch.float64)
        bare = cls(edges, empty, empty)
        each = (bare.counts(scores) + 0.5 for scores in (clean, touched))
        return cls(edges, *(one / one.sum() for one in each))

    def counts(self, scores: Tensor) -> Tensor:
        """(..., K) numbers of (..., N) scores in each bin; an edge belongs to the bin below it."""
        bins = torch.searchsorted(self.edges, scores.contiguous())
        found = torch.zeros(*scores.shape[:-1], len(self.edges) + 1, dtype=torch.float64)
        return found.scatter_add(-1, bins, torch.ones_like(bins, dtype=torch.float64))

    def share(self, counts: Tensor) -> Tensor:
        """(...) share of touched images of largest likelihood, in [0, 1], of (..., K) counts."""
        low = torch.zeros(counts.shape[:-1], dtype=torch.float64)
        high = torch.ones_like(low)
        for _ in range(BISECTIONS):  # the likelihood is concave, so its slope falls
            middle = (low + high) / 2
            rising = (counts * self._gain(middle)).sum(-1) > 0
            low, high = torch.where(rising, middle, low), torch.where(rising, high, middle)
        return (low + high) / 2

    def ratio(self, counts: Tensor) -> Tensor:
        """(...) log likelihood ratio of the best share to none, >= 0."""
        share = self.share(counts)[..., None]
        mixed = (1 - share) * self.clean + share * self.touched
        return (counts * (mixed.log() - self.clean.log())).sum(-1).clamp_min(0)

    def _gain(self, share: Tensor) -> Tensor:
        mixed = (1 - share[..., None]) * self.clean + share[..., None] * self.touched
        return (self.touched - self.clean) / mixed


def resampled(scores: Tensor, size: int, generator: torch.Generator, sets: int = SETS) -> Tensor:
    """(sets, size) scores of sets drawn from a pool that is itself drawn anew for each.

    The pool stands for the population that it came from: without drawing it anew, sets as large
    as it would seem to vary less than they do.
    """
    n = len(scores)
    pools = torch.randint(n, (sets, n), generator=generator)
    drawn = torch.randint(n, (sets, size), generator=generator)
    return scores[pools.gather(1, drawn)]


def null_ratios(
    mixture: Mixture, clean: Tensor, size: int, generator: torch.Generator, sets: int = SETS
) -> Tensor:
    """(sets,) ratios of resampled clean sets."""
    return mixture.ratio(mixture.counts(resampled(clean, size, generator, sets)))


def p_value(ratio: float, nulls: Tensor) -> float:
    """Share of clean sets with such a ratio, the set at hand among them (Davison and Hinkley)."""
    return (1 + int((nulls >= ratio).sum())) / (1 + len(nulls))


def threshold(nulls: Tensor) -> float:
    """Smallest ratio that at most 5 % of clean sets exceed, as `p_value` has it."""
    allowed = int(FALSE_ALARMS * (1 + len(nulls))) - 1
    return float(nulls.sort(descending=True).values[allowed])


def share_interval(
    scores: Tensor,
    clean: Tensor,
    touched: Tensor,
    generator: torch.Generator,
    sets: int = SETS,
) -> tuple[float, float]:
    """95 % percentile interval of the share: the set, clean images and friends drawn anew."""
    found = []
    for _ in range(sets):
        pools = (_again(pool, generator) for pool in (clean, touched))
        drawn = Mixture.of(*pools)
        found.append(drawn.share(drawn.counts(_again(scores, generator))))
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = torch.quantile(torch.stack(found), ends).tolist()
    least = 1e-9  # what bisection leaves of a share of 0
    return (0.0 if low < least else low), high


def _again(pool: Tensor, generator: torch.Generator) -> Tensor:
    """As many draws from a pool as it has, with replacement."""
    return pool[torch.randint(len(pool), (len(pool),), generator=generator)]


def power_at(
    mixture: Mixture,
    count: int,
    *,
    clean: Tensor,
    touched: Tensor,
    size: int,
    bar: float,
    generator: torch.Generator,
    sets: int = SETS,
) -> float:
    """Share of resampled sets, `count` of whose images are touched, that exceed the threshold."""
    drawn = resampled(clean, size, generator, sets)
    drawn[:, :count] = resampled(touched, count, generator, sets)
    ratios = mixture.ratio(mixture.counts(drawn))
    return float((ratios > bar).double().mean())


def smallest_found(
    mixture: Mixture,
    *,
    clean: Tensor,
    touched: Tensor,
    size: int,
    bar: float,
    seed: int,
    sets: int = SETS,
) -> int | None:
    """Smallest number of touched images in a set of `size` that is found with power 0.8.

    None where even a set of nothing else is not found so often.
    """
    if not len(touched):
        return None

    def found(count: int) -> bool:
        generator = torch.Generator().manual_seed(seed)
        power = power_at(
            mixture,
            count,
            clean=clean,
            touched=touched,
            size=size,
            bar=bar,
            generator=generator,
            sets=sets,
        )
        return power >= POWER

    low, high = 0, size
    if not found(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high
