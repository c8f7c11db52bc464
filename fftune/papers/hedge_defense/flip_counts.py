"""Predictions that a defense corrects and breaks, counted from rows (Wu et al. 2021, 4.2.1)."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from fftune.comparison import Paired
from fftune.evaluation.adaptive import is_adaptive
from fftune.hedge_study.showcase_schema import Flips
from fftune.outcomes import Outcomes
from fftune.report.defended_rows import defense_frame

if TYPE_CHECKING:
    import pandas as pd

CHANGES = {
    "FtoT": "false_to_true",
    "TtoF": "true_to_false",
    "FtoT - TtoF": "",
    "FtoF": "false_to_false",
}
"""Changes as the paper calls them, and as `Flips` does; their difference is the gain."""
LEVEL = 0.05
"""P value below which a gain is told from chance."""


def flips_in(rows: Outcomes) -> Mapping[tuple[str, str], tuple[Flips, ...]]:
    """Count flips by attack and defense, one for each draw of the defense.

    Each draw is compared with the bare net on the same perturbed images.
    """
    frame = defense_frame(rows)
    adversarial = (frame["goal"] == "adversarial") & (frame["defense"] != "none")
    frame = frame[adversarial & ~frame["attack"].map(is_adaptive)]
    return {
        (str(attack), str(defense)): tuple(_draws(defended, str(attack), str(defense)))
        for (attack, defense), defended in frame.groupby(["attack", "defense"], sort=False)
    }


def _draws(defended: "pd.DataFrame", attack: str, defense: str) -> Iterator[Flips]:
    for _, draw in defended.groupby(["seed", "defense_repeat"]):
        was, now = draw["before"] == draw["y"], draw["right"]
        changed = draw["before"] != draw["pred_pert"]
        yield Flips(
            attack=attack,
            defense=defense,
            n=len(draw),
            right_before=int(was.sum()),
            right_after=int(now.sum()),
            false_to_true=int((~was & now).sum()),
            true_to_false=int((was & ~now).sum()),
            false_to_false=int((~was & ~now & changed).sum()),
        )


def change(flips: Flips, name: str) -> int:
    """Count one of `CHANGES`."""
    if not CHANGES[name]:
        return flips.false_to_true - flips.true_to_false
    return int(getattr(flips, CHANGES[name]))


def mean_change(draws: Sequence[Flips], name: str) -> float:
    """Mean of one of `CHANGES` over draws."""
    return fmean(change(one, name) for one in draws)


def gains(flips: Flips) -> bool | None:
    """Tell if more predictions are corrected than broken, by McNemar's exact test; None: neither.

    The test is two-sided at 5 %.
    """
    paired = Paired(
        n=flips.n,
        both=flips.right_before - flips.true_to_false,
        gained=flips.false_to_true,
        lost=flips.true_to_false,
    )
    return paired.gain > 0 if paired.p_value < LEVEL else None
