"""Rows of tables under attack, from the rows of evaluations: nets, and defenses (Wu et al. 2021).

All numbers are percent.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import nan
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Protocol

from fftune.evaluation.adaptive import is_adaptive
from fftune.evaluation.defended import CLEAN
from fftune.outcomes import Outcomes
from fftune.papers.artifacts import Cell, Measure, Row
from fftune.report.defended_rows import defense_frame, is_leaked, tried_by_all
from fftune.risk import Rate

if TYPE_CHECKING:
    import pandas as pd

WORST, BEST = "worst", "best"
COLUMNS = {
    CLEAN: "Natural",
    "pgd-20": "PGD",
    "cw": "C&W",
    "deepfool": "DeepFool",
    "apgd-ce": "APGD-CE",
    "apgd-t": "APGD-T",
    "fab-t": "FAB",
    "square": "Square",
    "rays": "RayS",
    "autoattack": "AutoAttack",
    WORST: "Worst case",
}
"""Columns of Wu et al. 2021, table 1, in its order: what rows call them, and what is printed."""
METHODS = {"none": "-", "random": "Random", "hedge": "Hedge"}
"""Its three rows of a net: what rows call the defense, and what is printed."""


class DefendedCell(Protocol):
    """A cell of a table of defenses, by the names of its defense and its column in rows."""

    def __call__(self, defense: str, column: str, measure: Measure | None, /) -> Cell:
        """Put it beside what is published there."""
        ...


def ours_alone(_defense: str, column: str, measure: Measure | None) -> Cell:
    """A cell beside which nothing is published."""
    return Cell(ours=measure) if measure else Cell(reason=f"there are no rows of {column}")


def defense_rows(
    outcomes: Outcomes,
    label: str,
    columns: Iterable[str] = COLUMNS,
    cell: DefendedCell = ours_alone,
) -> tuple[Row, ...]:
    """Lay out one net as a block of Wu et al. 2021, table 1: a row a defense, "-" first.

    Args:
        columns: some of `COLUMNS`, or other attacks of the rows.
        cell: makes a cell of each measure, None where rows have no such attack.
    """
    columns = tuple(columns)
    return tuple(
        Row(
            label=METHODS.get(defense, defense),
            block=label,
            cells=tuple(cell(defense, name, found.get(name)) for name in columns),
        )
        for defense, found in defense_measures(outcomes).items()
    )


def defense_measures(outcomes: Outcomes) -> Mapping[str, Mapping[str, Measure]]:
    """Accuracy by defense and column, as in `["hedge"]["worst"]`, in percent.

    `worst` is over the attacks of the battery, example by example and draw by draw; `best` also
    over the adaptive attacks, which the paper's tables do not have, but for those to which a draw
    is leaked. Draws are those of the defense, and of the attackers' noise where rows have several
    seeds.

    Returns:
        The mean over draws; their deviation; the mean of the draws' 95 % intervals, as all draws
        are on the same examples.
    """
    frame = defense_frame(outcomes)
    clean = frame[frame["attack"] == CLEAN]
    adversaries = frame[frame["goal"].isin(["adversarial", "label_free"])]
    blind = adversaries[~adversaries["attack"].map(is_leaked).astype(bool)]
    is_aware = blind["attack"].map(is_adaptive).astype(bool)
    found = {}
    for defense in _in_order(set(frame["defense"]), METHODS):
        of_defense = blind["defense"] == defense
        every, battery = blind[of_defense], blind[of_defense & ~is_aware]
        named = {CLEAN: _natural(clean[clean["defense"] == defense], battery)}
        named |= {str(attack): rows for attack, rows in every.groupby("attack")}
        named |= {WORST: _worst(battery)} | ({BEST: _worst(every)} if is_aware.any() else {})
        found[defense] = {name: over_draws(list(_draws(rows))) for name, rows in named.items()}
    return found


def over_draws(draws: Sequence[Rate]) -> Measure:
    """Mean and deviation of several draws on the same examples."""
    if not draws:
        return Measure(mean=nan, seeds=0)
    values = [100 * rate.value for rate in draws]
    low, high = zip(*(rate.interval for rate in draws), strict=True)
    return Measure(
        mean=fmean(values),
        sd=stdev(values) if len(values) > 1 else nan,
        low=100 * fmean(low),
        high=100 * fmean(high),
        seeds=len(draws),
        n=draws[0].n,
    )


def _draws(rows: "pd.DataFrame") -> Iterator[Rate]:
    for _, draw in rows.groupby(["seed", "defense_repeat"]):
        yield Rate(int(draw["right"].sum()), len(draw))


def _natural(clean: "pd.DataFrame", under: "pd.DataFrame") -> "pd.DataFrame":
    """Clean images, in as many draws as the attacks have: the control has more of them.

    Without rows of their own, the bare net's predictions stand beside every attack's.
    """
    if len(clean):
        last = int((under if len(under) else clean)["defense_repeat"].max())
        return clean[clean["defense_repeat"] <= last]
    bare = under[under["defense"] == "none"].drop_duplicates("id")
    return bare.assign(right=bare["pred_clean"] == bare["y"])


def _worst(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Tell for each example and draw if it is right under every attack."""
    key = ["seed", "defense_repeat", "id"]
    return tried_by_all(rows).groupby(key)["right"].all().reset_index()


def _in_order(names: set[str], order: Mapping[str, str]) -> list[str]:
    return [name for name in order if name in names] + sorted(names - order.keys())
