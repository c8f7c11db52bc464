"""Differences of accuracy on the same images, with intervals over the images.

Draws, attacks and nets are averaged for each image first, as one image under several of them is
no independent example.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from typing import TYPE_CHECKING

from fftune.evaluation.adaptive import is_adaptive
from fftune.outcomes import Outcomes
from fftune.papers.artifacts import Direction, Measure
from fftune.papers.tables.attack_tables import WORST
from fftune.report.defense_table import defense_frame, tried_by_all
from fftune.risk import Z

if TYPE_CHECKING:
    import pandas as pd

Column = tuple[str, str]
"""A defence and an attack, or `worst`, by their names in rows."""
ByImage = Mapping[Column, "pd.Series[float]"]
"""Share of draws in which each image is classified correctly."""


def by_image(outcomes: Outcomes) -> ByImage:
    """Judge each image under every defence and attack, and under the battery's worst case."""
    frame = defense_frame(outcomes)
    found: dict[Column, pd.Series[float]] = {}
    for defense, under in frame.groupby("defense"):
        for attack, rows in under.groupby("attack"):
            found[str(defense), str(attack)] = (
                rows["right"].astype(float).groupby(rows["id"]).mean()
            )
        battery = under[(under["goal"] == "adversarial") & ~under["attack"].map(is_adaptive)]
        draws = tried_by_all(battery).groupby(["defense_repeat", "id"])["right"].all()
        found[str(defense), WORST] = draws.astype(float).groupby("id").mean()
    return found


def gain(
    nets: Iterable[ByImage], first: Sequence[Column], second: Sequence[Column]
) -> Measure | None:
    """Accuracy of the first columns minus that of the second, in points.

    Args:
        nets: judged on the same images; those without the columns are left out.
        first: columns that are averaged; as many as in `second`, and of the same attacks.

    Returns:
        The mean with a 95 % interval over images; None without any.
    """
    import pandas as pd

    differences = [
        net[one] - net[other]
        for net in nets
        for one, other in zip(first, second, strict=True)
        if one in net and other in net
    ]
    if not differences:
        return None
    each = 100 * pd.concat(differences, axis=1, join="inner").mean(axis=1)
    return _mean(each.tolist())


def _mean(values: Sequence[float]) -> Measure | None:
    """Mean of differences in points, with the interval of Agresti & Min (2005).

    It counts two images more: half a gained, half a lost and one unchanged. Without them a few
    images that nothing changes would prove that nothing ever does.
    """
    n = len(values)
    if not n:
        return None
    mean, more = sum(values) / n, n + 2
    middle = sum(values) / more
    square = (sum(one**2 for one in values) + 100**2) / more
    half = Z * sqrt((square - middle**2) / more)
    return Measure(mean=mean, low=middle - half, high=middle + half, n=n)


def exceeds(claim: str, measure: Measure | None, bound: float = 0.0) -> Direction:
    """A claim that a difference is larger than a bound, in points."""
    if measure is None:
        return Direction(claim=claim, found=None, seen="no numbers")
    found = True if measure.low > bound else False if measure.high < bound else None
    interval = f"95 % CI {measure.low:+.2f} to {measure.high:+.2f}"
    seen = f"{measure.mean:+.2f} points ({interval}, n = {measure.n:,} images)"
    return Direction(claim=claim, found=found, seen=seen)
