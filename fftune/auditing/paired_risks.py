"""Accuracies and risks of two nets on the same examples, and intervals of their differences."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import nan
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from fftune.comparison import Paired
from fftune.risk import Rate

DRAWS = 10_000
"""Bootstrap samples."""
UNSEEN = 0.5
"""Examples added to each kind of pair, seen or not, before samples are drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Answers of one net on the examples of D, under all attacks together; (N,) each."""

    of: NDArray[np.bool_]
    """Examples that the measure is a share of: all, D+ or D-."""
    hit: NDArray[np.bool_]
    """Ones of these that it counts: right, robust, fooled or concealed."""

    @property
    def rate(self) -> Rate:
        """Rate of the measure."""
        return Rate(int((self.hit & self.of).sum()), int(self.of.sum()))


@dataclass(frozen=True, kw_only=True)
class PairedRisk:
    """One measure of two nets; every gain is positive where the second net is better."""

    before: Answers
    after: Answers
    lower_is_better: bool

    @property
    def sign(self) -> int:
        """Sign that turns a rise of the measure into a gain."""
        return -1 if self.lower_is_better else 1

    @property
    def gain(self) -> float:
        """Gain from the first net to the second, a difference of shares; nan if one has none."""
        return self.sign * (self.after.rate.value - self.before.rate.value) + 0.0  # no -0

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """Two-sided interval of the gain at 1 - alpha; (nan, nan) where the gain is undefined.

        Shares of the same examples: Newcombe (1998), method 10, for paired proportions. Shares of
        each net's own mistakes, or right answers: percentiles of a bootstrap of the examples of D,
        with both ratios computed anew. It draws from the nine kinds of pairs (not counted, counted
        and not hit, hit; of either net) with `UNSEEN` added to each, as Agresti and Min (2005) do
        for paired proportions: kinds of which there is none would else be impossible, and two nets
        that differ nowhere in 30 mistakes would be known to be equal.
        """
        if self.before.of.all() and self.after.of.all():
            paired = Paired.counted(*self._ordered(self.before.of))
            return paired.interval_at(NormalDist().inv_cdf(1 - alpha / 2))
        if not (self.before.of.any() and self.after.of.any()):
            return nan, nan
        low, high = np.quantile(self._drawn, [alpha / 2, 1 - alpha / 2])
        return float(low), float(high)

    @property
    def common(self) -> Paired | None:
        """Gain on the examples that are counted for both nets; None where those are all of D."""
        both = self.before.of & self.after.of
        return None if both.all() else Paired.counted(*self._ordered(both))

    def _ordered(self, among: NDArray[np.bool_]) -> Iterator[NDArray[np.bool_]]:
        """Hits of both nets, the one first whose hits are the gain."""
        nets = (self.after, self.before)
        return (net.hit[among] for net in (nets[::-1] if self.lower_is_better else nets))

    @cached_property
    def _drawn(self) -> NDArray[np.float64]:
        """(draws,) gains of bootstrap samples in which both rates are defined."""
        kinds = [net.of.astype(np.int64) + (net.of & net.hit) for net in (self.before, self.after)]
        counts = np.bincount(3 * kinds[0] + kinds[1], minlength=9) + UNSEEN
        rng = np.random.default_rng(0)
        drawn = rng.multinomial(len(kinds[0]), counts / counts.sum(), size=DRAWS)
        first, second = (drawn.reshape(-1, 3, 3).sum(axis=axis) for axis in (2, 1))  # (draws, 3)
        defined = (first[:, 1:].sum(axis=1) > 0) & (second[:, 1:].sum(axis=1) > 0)
        was, now = (c[defined, 2] / c[defined, 1:].sum(axis=1) for c in (first, second))
        gains: NDArray[np.float64] = self.sign * (now - was)
        return gains
