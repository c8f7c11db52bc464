"""What a check is, and when two attacks differ enough to say so."""

from dataclasses import dataclass

from fftune.comparison import Paired
from fftune.risk import Rate

MARGIN = 0.02
"""Differences up to this share of the examples prove nothing."""
LEVEL = 0.05
"""Of McNemar's test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One verdict and what it rests on."""

    name: str
    passed: bool
    evidence: str

    def __str__(self) -> str:
        return f"{'pass' if self.passed else 'FAIL'}  {self.name}: {self.evidence}"


def beats(paired: Paired) -> bool:
    """Whether the first is better by more than the margin, and not by chance."""
    return paired.gain > MARGIN and paired.p_value < LEVEL


def is_full(rate: Rate) -> bool:
    """Whether a success rate may be 100 %, up to the margin."""
    return bool(rate.n) and rate.interval[1] >= 1 - MARGIN
