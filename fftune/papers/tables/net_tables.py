"""Tables over anybody's evaluated nets: under attack, behind defenses, and certified."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import nan
from typing import TYPE_CHECKING, NamedTuple

from fftune.errors import DataError
from fftune.evaluation.adaptive import is_adaptive
from fftune.outcomes import Outcomes
from fftune.papers.artifacts import Cell, Row, Table
from fftune.papers.false_friends.certified import CERTIFIED
from fftune.papers.false_friends.certified import COLUMNS as CERTIFIED_COLUMNS
from fftune.papers.tables.attack_tables import BEST, COLUMNS, WORST, defense_measures
from fftune.papers.tables.attack_tables import METHODS as DEFENSES
from fftune.papers.tables.evaluated_nets import Evaluated
from fftune.papers.tables.measures import measure_of
from fftune.papers.tables.net_risks import CONSTANT, INFLATION, PGD, NetRisks, answers_one_class
from fftune.report.attack_table import ensembles
from fftune.report.defended_rows import undefended
from fftune.risk import Rate, RiskCounts

if TYPE_CHECKING:
    import pandas as pd

ATTACKED, HELPED = "accuracy, attacked", "accuracy, helped"
CONCEALED, INFLATED = "mistakes concealed", "inflation of the score"
LED, CHANGED = "mistakes led to the class", "predictions changed"
GROUPS = ("", ATTACKED, HELPED, CONCEALED, INFLATED, LED, CHANGED)
WORST_CASE = COLUMNS[WORST].lower()
NOTES = {
    ATTACKED: "the worst case is over all attacks of a goal, example by example",
    CONCEALED: "mistakes concealed: of each net's own, those that a false friend conceals",
    INFLATED: "inflation of the score: natural risk x hypocritical risk, of all examples",
}


class Column(NamedTuple):
    """A column by its group and its name."""

    group: str
    name: str


class Attack(NamedTuple):
    """An attack as rows tell it."""

    goal: str
    attack: str
    target: str
    tier: str
    config_hash: str
    """Hash of its settings; empty for ensembles, whose tier says them."""


Names = Mapping[Attack, str]


def attack_table(evaluated: Evaluated) -> Table:
    """Lay out nets without a defense: clean, under each attack, and in the worst case."""
    frames = {label: [_framed(one) for one in seeds] for label, seeds in evaluated.nets.items()}
    names = _names(attack for seeds in frames.values() for one in seeds for attack in one)
    rates = {label: [_rates(one, names) for one in seeds] for label, seeds in frames.items()}
    columns = _in_order(column for seeds in rates.values() for one in seeds for column in one)
    groups = {column.group for column in columns}
    return Table(
        name="attacks",
        title=f"Nets under attack: {evaluated.terms}",
        columns=tuple(columns),
        rows=tuple(
            Row(label=label, cells=tuple(_cell(seeds, column) for column in columns))
            for label, seeds in rates.items()
        ),
        corner="Net",
        notes=(
            *(note for group, note in NOTES.items() if group in groups),
            *_constant(evaluated),
        ),
    )


def _constant(evaluated: Evaluated) -> Iterator[str]:
    """Name the nets whose risks say nothing."""
    for label, seeds in evaluated.nets.items():
        if count := sum(map(answers_one_class, seeds)):
            yield f"{label}: {count} of {len(seeds)} {CONSTANT}"


def defense_tables(evaluated: Evaluated) -> list[Table]:
    """Lay out nets behind defenses as Wu et al. 2021 do: means over draws, then variances.

    Attackers who know of the defense stand beside those that do not.

    Raises:
        DataError: no net has a defense.
    """
    found = {
        (label, defense): measures
        for label, outcomes in _one_seed_each(evaluated)
        for defense, measures in defense_measures(outcomes).items()
    }
    if all(defense == "none" for _, defense in found):
        raise DataError(
            "no net was evaluated with a defense; `fftune evaluate NET --defense NAME` does it"
        )
    attacks = dict.fromkeys(name for measures in found.values() for name in measures)
    blind = [name for name in COLUMNS if name in attacks]
    blind[-1:] = [name for name in attacks if name not in COLUMNS and not _knows(name)] + blind[-1:]
    aware = [name for name in attacks if _knows(name)]
    columns = tuple(Column("", COLUMNS.get(name, name)) for name in blind)
    columns += tuple(Column("adaptive", name) for name in aware)
    rows = [
        Row(
            label=DEFENSES.get(defense, defense),
            block=label,
            cells=tuple(
                Cell(ours=measures[name]) if name in measures else Cell(reason=_NO_ROWS)
                for name in (*blind, *aware)
            ),
        )
        for (label, defense), measures in found.items()
    ]
    means = Table(
        name="defenses",
        title=f"Accuracy behind defenses: {evaluated.terms}",
        columns=columns,
        rows=tuple(rows),
        corner="Method",
        notes=("attacks were crafted once, only the defense was drawn again",),
    )
    return [means, _variances(means)]


_NO_ROWS = "there are no such rows of this net"


def certified_table(evaluated: Evaluated) -> Table:
    """Lay out what is certified of nets beside what PGD comes to (Tao et al. 2022, table 16).

    Raises:
        DataError: no net has rows of battery `certified`.
    """
    rows = []
    for label, seeds in evaluated.nets.items():
        empirical, bounds = (_risks(seeds, attack) for attack in (PGD, CERTIFIED))
        cells = []
        for group, name in CERTIFIED_COLUMNS:
            risks = bounds if name == CERTIFIED or not empirical.counts else empirical
            measure = risks.measure(group or name)
            cells.append(Cell(ours=measure, reason="" if measure else risks.why or "undefined"))
        rows.append(Row(label=label, cells=tuple(cells)))
    if not any(_has(one, CERTIFIED) for seeds in evaluated.nets.values() for one in seeds):
        raise DataError("no net was certified; `fftune evaluate NET --battery certified` does it")
    return Table(
        name="certified",
        title=f"Certified risks: {evaluated.terms}",
        columns=CERTIFIED_COLUMNS,
        rows=tuple(rows),
        corner="Net",
        notes=(f"empirical: {PGD}; {INFLATION}: natural risk x hypocritical risk",),
    )


def _risks(seeds: Sequence[Outcomes], attack: str) -> NetRisks:
    having = [one for one in seeds if _has(one, attack)]
    counts = tuple(
        RiskCounts.of(one.where(defense="none"), attack=attack, split=split)
        for one in having
        for split in one.values("split")
    )
    return NetRisks(counts=counts, seeds=len(seeds), why=f"there are no rows of {attack}")


def _has(outcomes: Outcomes, attack: str) -> bool:
    """Tell if rows have an attack with both of its goals."""
    goals = outcomes.where(attack=attack, defense="none").values("goal")
    return {"adversarial", "hypocritical"} <= goals


def _one_seed_each(evaluated: Evaluated) -> Iterator[tuple[str, Outcomes]]:
    """Nets of several seeds one by one, as their draws are not draws of one defense."""
    for label, seeds in evaluated.nets.items():
        for i, outcomes in enumerate(seeds):
            yield (f"{label}, seed {i}" if len(seeds) > 1 else label), outcomes


def _knows(attack: str) -> bool:
    return is_adaptive(attack) or attack == BEST


def _variances(means: Table) -> Table:
    """Variance over draws of each cell (Wu et al. 2021, table 4)."""

    def variance(cell: Cell) -> Cell:
        if cell.ours is None or cell.ours.sd != cell.ours.sd:
            return Cell(reason=cell.reason or "one draw has no variance")
        ours = replace(cell.ours, mean=cell.ours.sd**2, sd=nan, low=nan, high=nan)
        return Cell(ours=ours)

    rows = (replace(row, cells=tuple(map(variance, row.cells))) for row in means.rows)
    return replace(
        means,
        name=f"{means.name}-variances",
        title="Variance over draws",
        unit="square points",
        rows=tuple(rows),
        notes=(),
    )


def _cell(seeds: Sequence[Mapping[Column, Rate]], column: Column) -> Cell:
    found = [one[column] for one in seeds if column in one]
    if not found:
        return Cell(reason=_NO_ROWS)
    ours = measure_of(found)
    if ours.mean != ours.mean:
        return Cell(reason="undefined, as there is no such example")
    few = f"of {len(found)} of {len(seeds)} seeds" if len(found) < len(seeds) else ""
    return Cell(ours=ours, reason=few)


def _in_order(columns: Iterable[Column]) -> list[Column]:
    """Order columns by group, in each as the papers do, the worst case last."""
    known = list(COLUMNS)

    def place(column: Column) -> tuple[int, bool, int, str]:
        name = column.name.partition(" ")[0]
        at = known.index(name) if name in known else len(known)
        return GROUPS.index(column.group), column.name == WORST_CASE, at, column.name

    return sorted(dict.fromkeys(columns), key=place)


def _framed(outcomes: Outcomes) -> "dict[Attack, pd.DataFrame]":
    """Rows of each attack on the bare net; what is certified is no attack."""
    frame = undefended(outcomes).to_pandas()
    frame = frame[frame["attack"].astype(str) != CERTIFIED]
    key = list(Attack._fields)
    frame = frame.astype(dict.fromkeys(key, str))
    frame.loc[frame["goal"] != "targeted", "target"] = ""
    frame.loc[frame["attack"].isin(ensembles()), "config_hash"] = ""
    frame["right"] = frame["pred_pert"] == frame["y"]
    frame["wrong"] = frame["pred_clean"] != frame["y"]
    return {Attack(*map(str, names)): rows for names, rows in frame.groupby(key)}


def _names(attacks: Iterable[Attack]) -> dict[Attack, str]:
    """Names of columns; settings that differ under one name get their hash beside it."""
    names = {}
    for one in dict.fromkeys(attacks):
        name = f"{one.attack} to {one.target}" if one.target else one.attack
        names[one] = name if one.config_hash else f"{name} ({one.tier})"
    taken: dict[tuple[str, str], set[Attack]] = {}
    for one, name in names.items():
        taken.setdefault((one.goal, name), set()).add(one)
    return {
        one: f"{name} [{one.config_hash[:4]}]" if len(taken[one.goal, name]) > 1 else name
        for one, name in names.items()
    }


def _rates(frames: "Mapping[Attack, pd.DataFrame]", names: Names) -> dict[Column, Rate]:
    """Rates of a net by their columns; of mistakes alone, neither D nor F is known."""
    wrong: dict[int, bool] = {}
    for rows in frames.values():
        wrong |= dict(zip(rows["id"], rows["wrong"], strict=True))
    everywhere = any(attack.goal in _EVERYWHERE for attack in frames) or not all(wrong.values())
    total = len(wrong) if everywhere else None
    found: dict[Column, Rate] = {}
    if everywhere:
        found[Column("", "clean")] = Rate(len(wrong) - sum(wrong.values()), len(wrong))
    for attack, rows in frames.items():
        found |= _of_attack(attack.goal, names[attack], rows, total)
    for goals, group in ((_EVERYWHERE[:2], ATTACKED), (("hypocritical",), CONCEALED)):
        parts = [rows for attack, rows in frames.items() if attack.goal in goals]
        if len(parts) > 1:
            found[Column(group, WORST_CASE)] = _worst(parts, group)
    return found


_EVERYWHERE = ("adversarial", "label_free", "stability")
"""Goals of attacks on all examples."""


def _of_attack(goal: str, name: str, rows: "pd.DataFrame", total: int | None) -> dict[Column, Rate]:
    mistakes = rows[rows["wrong"]]
    reached = Rate(int(mistakes["success"].sum()), len(mistakes))
    if goal == "hypocritical":
        found = {Column(CONCEALED, name): reached}
        if len(rows) == total:  # else he went to mistakes alone
            found[Column(HELPED, name)] = Rate(int(rows["right"].sum()), total)
            found[Column(INFLATED, name)] = Rate(reached.count, total)
        return found
    if goal == "targeted":
        return {Column(LED, name): reached}
    if goal == "stability":
        return {Column(CHANGED, name): Rate(int(rows["success"].sum()), len(rows))}
    return {Column(ATTACKED, name): Rate(int(rows["right"].sum()), len(rows))}


def _worst(parts: "Sequence[pd.DataFrame]", group: str) -> Rate:
    """The worst of several attacks, over the examples that each has rows of."""
    shared = set.intersection(*(set(rows["id"]) for rows in parts))
    right = {i: not wrong for i, wrong in zip(parts[0]["id"], parts[0]["wrong"], strict=True)}
    if group == CONCEALED:
        shared = {i for i in shared if not right[i]}
        ever = {i for rows in parts for i in rows.loc[rows["right"], "id"]}
        return Rate(len(shared & ever), len(shared))
    never = {i for rows in parts for i in rows.loc[~rows["right"], "id"]}
    return Rate(sum(right[i] for i in shared - never), len(shared))
