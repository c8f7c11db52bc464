"""Claims of the papers about which of two numbers is larger, decided by 95 % intervals.

The interval of a difference is of Newcombe (1998), method 10 without correlation. Numbers of one
net, or of nets that were tested on the same images, are correlated, mostly positively: it is then
wider than need be.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isnan, sqrt

from fftune.papers.artifacts import Direction, Measure

SEEN = 6
"""Comparisons that are told one by one; of more, those that are not as claimed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Larger:
    """A comparison of a claim: the first number is the larger one."""

    what: str
    """Subject of both numbers."""
    first: Measure | None
    second: Measure | None

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the difference, in points; nan where a number is missing."""
        a, b = self.first, self.second
        if a is None or b is None:
            return float("nan"), float("nan")
        gap = a.mean - b.mean
        down = sqrt((a.mean - a.low) ** 2 + (b.high - b.mean) ** 2)
        up = sqrt((a.high - a.mean) ** 2 + (b.mean - b.low) ** 2)
        return gap - down, gap + up

    @property
    def found(self) -> bool | None:
        """True or False where zero is outside the interval, None elsewhere."""
        low, high = self.interval
        return True if low > 0 else False if high < 0 else None

    def __str__(self) -> str:
        return f"{self.what} {told(self.first)} and {told(self.second)}"


def constant(value: float) -> Measure:
    """A number that a claim names, in percent."""
    return Measure(mean=value, low=value, high=value, seeds=0)


def direction(claim: str, comparisons: Iterable[Larger]) -> Direction:
    """Decide a claim: found where all comparisons are, not found where one contradicts it."""
    every = list(comparisons)
    verdicts = [one.found for one in every]
    return Direction(claim=claim, found=together(verdicts), seen=_seen(every))


def together(verdicts: Sequence[bool | None]) -> bool | None:
    """True if all are, False if one is, None if one is undecided or there is none."""
    if False in verdicts:
        return False
    return None if None in verdicts or not verdicts else True


def _seen(every: Sequence[Larger]) -> str:
    if not every:
        return "no numbers"
    if len(every) <= SEEN:
        return "; ".join(map(str, every))
    others = [one for one in every if not one.found]
    words = [f"as claimed in {len(every) - len(others)} of {len(every)} comparisons"]
    contrary = [one for one in others if one.found is False]
    undecided = [one for one in others if one.found is None]
    if contrary:
        words.append(f"contrary: {'; '.join(map(str, contrary[:SEEN]))}")
    if undecided:
        words.append(f"undecided: {'; '.join(map(str, undecided[:SEEN]))}")
    return ". ".join(words)


def told(measure: Measure | None) -> str:
    """Tell the mean of a number in two decimals."""
    return "missing" if measure is None or isnan(measure.mean) else f"{measure.mean:.2f}"
