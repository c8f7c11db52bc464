"""Result of a check, and the thresholds at which two attacks count as different."""

from collections.abc import Callable
from dataclasses import dataclass

from fftune.comparison import Paired
from fftune.risk import Rate

MARGIN = 0.02
"""Differences up to this share of the examples do not count."""
LEVEL = 0.05
"""Significance level of McNemar's test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Result of one check, with its evidence."""

    name: str
    passed: bool
    evidence: str

    def __str__(self) -> str:
        return f"{'pass' if self.passed else 'FAIL'}  {self.name}: {self.evidence}"


OnCheck = Callable[[Check], None]
"""Function that is told of each check as it ends."""


def ignored(_check: Check) -> None:
    """Do nothing."""


def beats(paired: Paired) -> bool:
    """Tell if the first attack is better by more than the margin, and significantly."""
    return paired.gain > MARGIN and paired.p_value < LEVEL


def is_full(rate: Rate) -> bool:
    """Tell if a success rate may be 100 %, up to the margin."""
    return bool(rate.n) and rate.interval[1] >= 1 - MARGIN
