"""Differences of accuracy on the same images, with intervals over the images.

Draws, attacks and nets are averaged for each image first, as one image under several of them is
no independent example.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from fftune.evaluation.adaptive import is_adaptive
from fftune.expectation import MeanGain
from fftune.outcomes import Outcomes
from fftune.papers.artifacts import Direction, Measure
from fftune.papers.tables.attack_tables import WORST
from fftune.report.defended_rows import defense_frame, tried_by_all

if TYPE_CHECKING:
    import pandas as pd

Column = tuple[str, str]
"""A defense and an attack, or `worst`, by their names in rows."""
ByImage = Mapping[Column, "pd.Series[float]"]
"""Share of draws in which each image is classified correctly."""


def by_image(outcomes: Outcomes) -> ByImage:
    """Judge each image under every defense and attack, and under the battery's worst case."""
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
    each = pd.concat(differences, axis=1, join="inner").mean(axis=1)
    found = MeanGain.of(each.tolist())
    if not found.n:
        return None
    mean, low, high = (100 * share for share in (found.value, found.low, found.high))
    return Measure(mean=mean, low=low, high=high, n=found.n)


def exceeds(claim: str, measure: Measure | None, bound: float = 0.0) -> Direction:
    """A claim that a difference is larger than a bound, in points."""
    if measure is None:
        return Direction(claim=claim, found=None, seen="no numbers")
    found = True if measure.low > bound else False if measure.high < bound else None
    interval = f"95 % CI {measure.low:+.2f} to {measure.high:+.2f}"
    seen = f"{measure.mean:+.2f} points ({interval}, n = {measure.n:,} images)"
    return Direction(claim=claim, found=found, seen=seen)
