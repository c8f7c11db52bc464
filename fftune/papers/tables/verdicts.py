"""Verdicts: one of our numbers against the published one.

Tolerances are those of `published.json`. At the full scale a mean of five trainings may lie three
of the paper's standard deviations off, or half a point; a single training, theirs or ours, 1.5
points. Other scales reproduce nothing.
"""

from fftune.papers.artifacts import Cell, Measure, Published
from fftune.papers.declarations import Setup
from fftune.papers.tables.measures import missing

SINGLE = 1.5
"""Points that a single training may lie off a mean of several."""
OTHER_SCALE = "other scale"
_ROUNDING = 1e-9


def cell(
    measure: Measure | None,
    published: Published | None,
    setup: Setup,
    *,
    comparable: str = "",
) -> Cell:
    """Put a number beside the published one, with a verdict.

    Args:
        measure: None, or nan, where it is undefined.
        comparable: why the two cannot be compared, as "other iterates"; empty: they can.
    """
    if measure is None or measure.mean != measure.mean:
        return missing("undefined: there is no such example", published)
    if published is None:
        return Cell(ours=measure, reason=comparable)
    reason = comparable or _incomparable(published, setup)
    if reason:
        return Cell(ours=measure, published=published, verdict="not comparable", reason=reason)
    near = abs(measure.mean - published.mean) <= tolerance(measure, published) + _ROUNDING
    return Cell(ours=measure, published=published, verdict="within" if near else "outside")


def tolerance(measure: Measure, published: Published) -> float:
    """Distance that the two may lie apart, in their own unit; nan: nothing is said of that."""
    alone = measure.seeds == 1 and published.runs > 1
    return max(published.tolerance, SINGLE) if alone else published.tolerance


def _incomparable(published: Published, setup: Setup) -> str:
    if setup.scale != "full":
        return OTHER_SCALE
    if published.exempt:
        return published.exempt
    return "" if published.tolerance == published.tolerance else "no tolerance is known"
