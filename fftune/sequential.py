"""Anytime-valid bounds on a share, for measurements that stop as soon as a bar is decided.

**This set.** Of a set of N examples, K unknown ones have a property (1; the others 0), and they are
looked at in an order drawn at random, without replacement. With `k` ones among the first `n`, that
order has the likelihood

    L(K) = C(N - n, K - k) / C(N, K)

for each candidate K, whichever n was reached and why. For a candidate K0 and any weights w over
smaller ones that sum to 1, M(K0) = sum over K < K0 of w(K) L(K) / L(K0) begins at 1. It is a
martingale if K0 is the truth, with respect to the filtration of the outcomes in that order (a
mixture of likelihood ratios; with a beta-binomial w over all K it is the prior-posterior ratio of
Waudby-Smith and Ramdas 2020, "Confidence sequences for sampling without replacement", theorem 2.1).
By Ville's inequality (1939) it ever reaches 1 / alpha with a probability of at most alpha, so that
striking out each candidate whose M once reached it keeps the truth at *all* looks together: one may
look after every example or block, and stop for any reason. `high` is the largest candidate left.
`low` is the mirror image, with ones and zeros exchanged.

The weights are exponential in the distance, w(K) ~ exp(-(K0 - K) / s) with s = N / 20, all on the
side that a bound has to strike out against. So every candidate, and with it every bar, has a
one-sided test tuned to truths some points away; `benchmarks/audits.py` prints how many
examples it takes.

*Unresolved* examples, whose attacks have not all been tried, count as 0 for the lower bound and as
1 for the upper. L(K) / L(K0) rises in k for K > K0, hence both bounds rise in k; bounds from fewer
ones are below those from the true number, and they fail in no further case.

**Bars.** A bar on K is passed where `high` keeps to it, failed where `low` does not. Of several
bars all must pass, so that each is tested for a pass at `high_alpha` = alpha: a wrong pass of all
is one of each bar that is not kept to (intersection-union, Berger 1982). A single fail fails all,
so that each of m bars is tested for it at `low_alpha` = alpha / m (Bonferroni).

**Beyond this set.** `beyond` bounds the share in the population of which the set is itself a random
sample: a mixture of Bernoulli likelihoods, which holds at any n of that order alike.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from math import exp, lgamma, log

import numpy as np
from numpy.typing import NDArray

from fftune.config.validation import require

SCALE = 1 / 20
"""Distance from a candidate, in shares of the set, over which weights fall by a factor of e."""


@dataclass(slots=True, kw_only=True)
class FiniteSequence:
    """Bounds on the number of ones in a set of known size, looked at in a random order.

    Each bound holds at all looks together with the probability 1 - its alpha; both do with
    1 - low_alpha - high_alpha. After the last example they are the number itself.
    """

    population: int
    """N, examples of the set, at least 1."""
    low_alpha: float = 0.05
    """Probability, in (0, 1), with which `low` may ever exceed the truth."""
    high_alpha: float = 0.05
    """Probability, in (0, 1), with which `high` may ever fall below the truth."""
    examined: int = field(default=0, init=False)
    """n of the latest look, unresolved examples included."""
    low: int = field(default=0, init=False)
    """Least number of ones that is left, of all N."""
    high: int = field(default=0, init=False)
    """Largest number of ones that is left, of all N."""

    def __post_init__(self) -> None:
        require("population", self.population >= 1, "at least 1", self.population)
        for name in ("low_alpha", "high_alpha"):
            alpha = getattr(self, name)
            require(name, 0 < alpha < 1, "a probability in (0, 1)", alpha)
        self.high = self.population

    def look(self, *, ones: int, zeros: int, unresolved: int = 0) -> None:
        """Take account of the first examples of the order; bounds never become wider.

        Args:
            ones, zeros, unresolved: numbers of these among all examples so far. They must be the
                first of the order: an example that is being looked at is unresolved, not absent.

        Raises:
            ValueError: there are more than N, or one is negative.
        """
        seen = ones + zeros + unresolved
        if min(ones, zeros, unresolved) < 0 or seen > self.population:
            raise ValueError(f"{ones} + {zeros} + {unresolved} examples of {self.population}")
        high = _largest(self.population, ones + unresolved, zeros, self.high_alpha)
        few = _largest(self.population, zeros + unresolved, ones, self.low_alpha)
        self.high = min(self.high, high)
        self.low = max(self.low, self.population - few)
        self.examined = seen


def beyond(ones: int, n: int, *, alpha: float = 0.05) -> tuple[float, float]:
    """Bound the share of ones in the population of which examples are independent draws.

    Both ends hold together at all n with the probability 1 - alpha: candidates p with
    B(ones + 1/2, zeros + 1/2) / B(1/2, 1/2) < p^ones (1 - p)^zeros / alpha are left (Robbins 1970,
    with the Beta(1/2, 1/2) mixture). Wilson's interval holds only where n was set beforehand.

    Args:
        ones, n: ones among the first n examples of a random order.

    Returns:
        The least and largest share left, in [0, 1]; (0, 1) if n is 0.
    """
    zeros = n - ones
    level = _log_beta(ones + 0.5, zeros + 0.5) - _log_beta(0.5, 0.5) + log(alpha)

    def is_left(p: float) -> bool:
        likelihood = (ones * log(p) if ones else 0.0) + (zeros * log(1 - p) if zeros else 0.0)
        return level < likelihood

    share = ones / n if n else 0.5
    low = _edge(is_left, share, 0.0) if ones else 0.0
    high = _edge(is_left, share, 1.0) if zeros else 1.0
    return low, high


def _edge(is_left: Callable[[float], bool], inside: float, outside: float) -> float:
    """Bisect between a share that is left and one that is not, down to neighbouring floats."""
    while (middle := (inside + outside) / 2) not in (inside, outside):
        inside, outside = (middle, outside) if is_left(middle) else (inside, middle)
    return outside


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def _largest(population: int, ones: int, zeros: int, alpha: float) -> int:
    """Largest number of ones in all whose M(K0) is below 1 / alpha, at one look."""
    left = population - ones - zeros
    if not left:
        return ones
    arrangements, tilt, weights = _tables(population)[:, ones : ones + left + 1]
    factorials = _log_factorials(population)[: left + 1]
    likelihood = arrangements - factorials - factorials[::-1]
    tilted = likelihood + tilt
    top = tilted.max()
    with np.errstate(divide="ignore"):  # below the smallest float: as good as no evidence, then
        below = np.log(np.cumsum(np.exp(tilted[:-1] - top))) + top
    evidence = below - (tilt + weights + likelihood)[1:]
    kept = np.flatnonzero(evidence < log(1 / alpha))
    return ones + int(kept[-1]) + 1 if len(kept) else ones


@lru_cache(maxsize=16)
def _log_factorials(population: int) -> NDArray[np.float64]:
    """(N + 1,) log n! for n of 0 to N."""
    logs = np.log(np.arange(1, population + 1, dtype=np.float64))
    return np.concatenate([[0.0], np.cumsum(logs)])


@lru_cache(maxsize=16)
def _tables(population: int) -> NDArray[np.float64]:
    """(3, N + 1) for each candidate K: log K! (N - K)!, K / s, and the log of its weights' sum."""
    factorials = _log_factorials(population)
    rate = 1 / (SCALE * population)
    counts = np.arange(population + 1)
    with np.errstate(divide="ignore"):  # K = 0 has nothing below it
        sums = np.log(-np.expm1(-rate * counts)) - log(exp(rate) - 1)
    return np.stack([factorials + factorials[::-1], rate * counts, sums])
