"""Which of two methods hides less at the same natural risk."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isfinite

import numpy as np

from fftune.comparison import GapBand, front_gap
from fftune.outcomes import Outcomes
from fftune.report.results import StudyResult
from fftune.sweeping.study_dir import StudyDir


@dataclass(frozen=True, slots=True)
class Gap:
    """Two studies, and the band between their fronts on the test split."""

    names: tuple[str, str]
    band: GapBand

    def __str__(self) -> str:
        one, two = self.names
        band = self.band
        if not len(band.natural):
            return f"The fronts of {one} and {two} share no natural risk: nothing is compared."
        middle = len(band.natural) // 2
        at, found = band.natural[middle], band.gap[middle]
        told = (
            f"At equal natural risk ({at:.1%}, the middle of what both fronts reach) the "
            f"hypocritical risk of {one} is {100 * abs(found):.1f} points "
            f"{'below' if found < 0 else 'above'} that of {two}"
        )
        low, high = 100 * band.low[middle], 100 * band.high[middle]
        told += (
            f" (95 % band {low:+.1f} to {high:+.1f})."
            if isfinite(low)
            else " (no band: too few draws reach it)."
        )
        return f"{told} {self._verdict()}"

    def _verdict(self) -> str:
        """Where the band leaves zero."""
        band, (one, two) = self.band, self.names
        reached = np.isfinite(band.low)
        if not reached.any():
            span = f"{band.natural[0]:.1%} to {band.natural[-1]:.1%}"
            return f"From {span} nine in ten draws reach nothing: no verdict."
        ends = band.natural[reached][[0, -1]]
        span = f"{ends[0]:.1%} to {ends[1]:.1%}, where nine in ten draws reach,"
        better, worse = (float(np.mean(b[reached])) for b in (band.high < 0, band.low > 0))
        if not better and not worse:
            return f"From {span} the band holds zero everywhere: no winner."
        parts = [
            f"{name} is better on {share:.0%}"
            for name, share in ((one, better), (two, worse))
            if share
        ]
        return f"From {span} {' and '.join(parts)} of the range, pointwise."


def gaps(results: Sequence[StudyResult]) -> list[Gap]:
    """Of every two studies whose rows are at hand."""
    return [
        Gap((a.config.name, b.config.name), front_gap(_rows(a), _rows(b)))
        for a, b in combinations(_with_rows(results), 2)
    ]


def _rows(result: StudyResult) -> list[list[Outcomes]]:
    """Of each member of the front, the rows of its seeds."""
    assert result.folder is not None
    study = StudyDir(result.folder, result.config)
    return [study.rows(member.trial, "test") for member in result.front.members]


def _with_rows(results: Sequence[StudyResult]) -> list[StudyResult]:
    """Those that have a front, and the rows it was counted from."""
    return [r for r in results if r.front.members and r.folder and (r.folder / "trials").exists()]
