"""Verdict on a score against a bar: pass, fail, or too few images to tell.

Tao et al. 2022, section 3.2, judge by the point estimate: a net whose accuracy on the verification
images is 99.9 % or more passes. A score of n images is an estimate, so the verdict here is that of
its interval, and the published one stands beside it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import floor
from typing import Literal

from fftune.config.validation import require
from fftune.risk import Rate, Z

Outcome = Literal["pass", "fail", "inconclusive"]
EXIT_CODES: dict[Outcome, int] = {"pass": 0, "fail": 3, "inconclusive": 4}
"""Exit code of a command by its verdict; 2 is the user's mistake, and 1 a defect."""
GRAVITY: tuple[Outcome, ...] = ("pass", "inconclusive", "fail")
"""Outcomes from the best to the worst."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Score, a higher one being better, against a bar."""

    rate: Rate
    bar: float
    """Least share that passes, in (0, 1)."""

    @property
    def outcome(self) -> Outcome:
        """Verdict of the 95 % interval: `pass` if all of it reaches the bar, `fail` if none."""
        low, high = self.rate.interval
        if low >= self.bar:
            return "pass"
        return "fail" if high < self.bar else "inconclusive"

    @property
    def point(self) -> Outcome:
        """Verdict of the point estimate, as published; `inconclusive` only where n is 0."""
        if not self.rate.n:
            return "inconclusive"
        return "pass" if self.rate.value >= self.bar else "fail"

    @property
    def exit_code(self) -> int:
        """Exit code of a command whose verdict this is."""
        return EXIT_CODES[self.outcome]


def judge(rate: Rate, bar: float) -> Verdict:
    """Judge a score, of which more is better, against a bar.

    Args:
        bar: least share that passes, in (0, 1).

    Raises:
        ConfigError: the bar is out of range.
    """
    check_bar(bar)
    return Verdict(rate=rate, bar=bar)


def check_bar(bar: float) -> None:
    """Refuse a bar that every score reaches, or that no number of images could prove.

    Raises:
        ConfigError: it is not in (0, 1).
    """
    require("bar", 0 < bar < 1, "a share in (0, 1), as in .999", bar)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the gravest of several outcomes; `pass` where there are none."""
    return max(outcomes, key=GRAVITY.index, default="pass")


def conclusive_from(bar: float) -> int:
    """Smallest n for which a perfect score passes.

    The lower end of Wilson's interval is n / (n + z^2) there, so that n >= z^2 bar / (1 - bar):
    3,838 at a bar of .999.
    """
    check_bar(bar)
    n = max(1, floor(Z**2 * bar / (1 - bar)) - 1)
    while judge(Rate(n, n), bar).outcome != "pass":
        n += 1
    return n
