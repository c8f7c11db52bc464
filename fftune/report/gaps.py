"""Comparison of two fronts: difference in hypocritical risk at equal natural risk."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import isfinite

import numpy as np

from fftune.comparison import GapBand, Paired, common_mistakes, front_gap
from fftune.outcomes import Outcomes
from fftune.report.results import StudyResult
from fftune.risk import Rate
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.training_trial import hypocritical_rows

CLOSE = 0.02
"""Largest difference of natural risks of two nets that are compared on common mistakes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """Two nets, one of each front and nearest in natural risk, on the mistakes that both make."""

    nets: tuple[str, str]
    natural: tuple[float, float]
    paired: Paired

    def __str__(self) -> str:
        (one, two), (risk, other) = self.nets, self.natural
        if not self.paired.n:
            return f"{one} and {two} make no mistake in common."
        first, second = (
            Rate(self.paired.both + only, self.paired.n).value
            for only in (self.paired.gained, self.paired.lost)
        )
        return (
            f"On the {self.paired.n:,} mistakes that both {one} (natural risk {risk:.1%}) and "
            f"{two} ({other:.1%}) make, a false friend conceals {first:.1%} of the first's and "
            f"{second:.1%} of the second's: {self.paired}."
        )


@dataclass(frozen=True, slots=True)
class Gap:
    """Two studies, and the band between their fronts on the test split."""

    names: tuple[str, str]
    band: GapBand
    common: "Common | None" = None
    """Comparison of one net of each; None where no two are of nearly equal natural risk."""

    def __str__(self) -> str:
        return f"{self._at_equal_risk()} {self.common or ''}".rstrip()

    def _at_equal_risk(self) -> str:
        one, two = self.names
        band = self.band
        if not len(band.natural):
            return f"The fronts of {one} and {two} share no natural risk: nothing is compared."
        middle = len(band.natural) // 2
        at, found = band.natural[middle], band.gap[middle]
        text = (
            f"At equal natural risk ({at:.1%}, the middle of what both fronts reach) the "
            f"hypocritical risk of {one} is {100 * abs(found):.1f} points "
            f"{'below' if found < 0 else 'above'} that of {two}"
        )
        low, high = 100 * band.low[middle], 100 * band.high[middle]
        text += (
            f" (95 % band {low:+.1f} to {high:+.1f})."
            if isfinite(low)
            else " (no band: too few draws reach it)."
        )
        return f"{text} {self._verdict()}"

    def _verdict(self) -> str:
        """State where the band excludes zero."""
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
        ranges = [
            f"{name} is better on {share:.0%}"
            for name, share in ((one, better), (two, worse))
            if share
        ]
        return f"From {span} {' and '.join(ranges)} of the range, pointwise."


def gaps(studies: Sequence[StudyResult]) -> list[Gap]:
    """Compare every two studies whose rows are on disk."""
    return [
        Gap((a.config.name, b.config.name), front_gap(_rows(a), _rows(b)), _common(a, b))
        for a, b in combinations(_with_rows(studies), 2)
    ]


def _common(one: StudyResult, two: StudyResult) -> Common | None:
    """Compare the two nets, one of each front, whose natural risks are nearest, on the test split.

    Of several training seeds it takes the first.
    """
    risks = [{t.trial: t.results[0].test.natural_risk.value for t in s.front.members}
             for s in (one, two)]  # fmt: skip
    first, second = min(
        product(*risks), key=lambda pair: abs(risks[0][pair[0]] - risks[1][pair[1]])
    )
    natural = risks[0][first], risks[1][second]
    if not abs(natural[0] - natural[1]) <= CLOSE:
        return None
    chosen = ((one, first), (two, second))
    rows = [hypocritical_rows(_folder(study), trial, "test")[0] for study, trial in chosen]
    nets = tuple(f"trial {trial} of {study.config.name}" for study, trial in chosen)
    return Common(nets=(nets[0], nets[1]), natural=natural, paired=common_mistakes(*rows))


def _folder(study: StudyResult) -> StudyDir:
    assert study.folder is not None
    return StudyDir(study.folder, study.config)


def _rows(study: StudyResult) -> list[list[Outcomes]]:
    """Rows of each member of the front, one table a seed."""
    folder = _folder(study)
    return [hypocritical_rows(folder, member.trial, "test") for member in study.front.members]


def _with_rows(studies: Sequence[StudyResult]) -> list[StudyResult]:
    """Select studies that have a front, and the rows it was counted from."""
    return [s for s in studies if s.front.members and s.folder and (s.folder / "trials").exists()]
