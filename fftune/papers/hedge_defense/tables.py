"""Hedge Defense under nine attacks: tables 1, 2, 5 and 7 of Wu et al. 2021."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fftune.config import Norm
from fftune.evaluation.defended import CLEAN
from fftune.outcomes import Outcomes
from fftune.papers.artifacts import Cell, Measure, Row, Table
from fftune.papers.declarations import Exam, Setup
from fftune.papers.hedge_defense.claims import claims
from fftune.papers.hedge_defense.nets import (
    AT,
    AT_100,
    AT_L2,
    FAST_AT,
    NATURAL,
    TRADES,
    TRADES_100,
    WIDE_AT,
    Line,
    lines,
)
from fftune.papers.items import Item
from fftune.papers.results import Results
from fftune.papers.tables import verdicts
from fftune.papers.tables.attack_tables import COLUMNS, METHODS, WORST, defense_rows
from fftune.papers.tables.measures import missing
from fftune.papers.tables.net_risks import CONSTANT, answers_one_class
from fftune.papers.tables.paired_gains import ByImage, by_image
from fftune.papers.zoo import packaged_zoo

DEFENSES = ("random", "hedge")
SHORT = (CLEAN, "apgd-ce", "apgd-t", "fab-t", "square", "autoattack", WORST)
"""Columns of table 7; its worst case is over these attacks."""
ITERATES = (
    "Behind a defense, APGD, FAB, Square and AutoAttack hand over the points that AutoAttack's own "
    "code does: the last that succeeded, and x itself where none did."
)
DRAWS = "Means over three draws of each defense, which is what deviations are of."


@dataclass(frozen=True, kw_only=True)
class HedgeTable:
    """A table of nets, each in three rows: bare, with random noise, behind Hedge Defense."""

    key: str
    title: str
    stand_ins: Sequence[Line]
    own: Sequence[Line] = ()
    columns: Sequence[str] = tuple(COLUMNS)
    norm: Norm = "linf"
    notes: Sequence[str] = ()

    def lines(self, setup: Setup) -> list[Line]:
        """Its nets at a scale."""
        return lines(self.key, setup, stand_ins=self.stand_ins, own=self.own)

    def needs(self, setup: Setup) -> list[Exam]:
        """One evaluation for each net that is there."""
        return [self._exam(line) for line in self.lines(setup) if not line.reason]

    def build(self, results: Results) -> list[Table]:
        """The table, with what it shows of the paper's claims."""
        rows: list[Row] = []
        judged: list[ByImage] = []
        notes = [DRAWS, ITERATES, *self._left_out(results.setup), *self.notes]
        for line in self.lines(results.setup):
            outcomes, reason = found(results, line, self._exam(line))
            if outcomes is None:
                rows += self._missing(line, reason)
                continue
            rows += defense_rows(
                outcomes, line.label, self.columns, self._cells(line, results.setup)
            )
            if answers_one_class(outcomes):
                notes.append(f"{line.label}: 1 of 1 {CONSTANT}; claims leave it out.")
            else:
                judged.append(by_image(outcomes))
        return [
            Table(
                name=self.key,
                title=self.title,
                columns=tuple(("", COLUMNS[name]) for name in self.columns),
                rows=tuple(rows),
                corner="Defense",
                notes=tuple(notes),
                directions=claims(judged, self.columns),
            )
        ]

    def _left_out(self, setup: Setup) -> list[str]:
        """Say how many nets of the published table have no row, as a scale has others for them."""
        theirs = [net for net in packaged_zoo() if self.key in net.tables]
        if setup.scale == "full" or setup.zoo or not theirs:
            return []
        return [f"Its {len(theirs)} published nets need weights (`--zoo`); nets of ours stand in."]

    def item(self) -> Item:
        """The table as an item of the paper."""
        return Item(key=self.key, title=self.title, needs=self.needs, build=self.build)

    def _exam(self, line: Line) -> Exam:
        """The attacks of its columns on a net, over which its worst case is."""
        shown = tuple(name for name in self.columns if name not in (CLEAN, WORST))
        return nine(line, self.norm, attacks=shown if len(self.columns) < len(COLUMNS) else ())

    def _cells(self, line: Line, setup: Setup) -> Callable[[str, str, Measure | None], Cell]:
        def cell(defense: str, column: str, measure: Measure | None) -> Cell:
            return beside(line, self.key, defense, column, measure, setup)

        return cell

    def _missing(self, line: Line, reason: str) -> Iterator[Row]:
        for defense in METHODS:
            cells = (
                missing(reason, line.printed(self.key, defense, name)) for name in self.columns
            )
            yield Row(label=METHODS[defense], cells=tuple(cells), block=line.label)


def beside(
    line: Line, table: str, defense: str, column: str, measure: Measure | None, setup: Setup
) -> Cell:
    """A number beside the published one."""
    printed = line.printed(table, defense, column)
    if measure is None:
        return missing(f"there are no rows of {column}", printed)
    return verdicts.cell(measure, printed, setup)


def nine(
    line: Line,
    norm: Norm = "linf",
    *,
    defenses: tuple[str, ...] = DEFENSES,
    attacks: tuple[str, ...] = (),
    seed: int = 0,
) -> Exam:
    """The evaluation of a net under the nine attacks, or those that are named."""
    return Exam(
        net=line.net,
        battery="nine",
        norm=norm,
        defenses=defenses,
        size="few",
        seed=seed,
        attacks=attacks,
    )


def found(results: Results, line: Line, exam: Exam) -> tuple[Outcomes | None, str]:
    """The rows of an evaluation, or None with the reason."""
    if line.reason:
        return None, line.reason
    outcomes = results.rows(exam)
    return outcomes, "" if outcomes else results.why_missing(exam)


TABLE_1 = HedgeTable(
    key="P2.T1",
    title="Robust accuracy under nine attacks on CIFAR-10",
    stand_ins=(TRADES, NATURAL),
    own=(AT,),
)
_T2 = HedgeTable(
    key="P2.T2",
    title="Robust accuracy under nine attacks on CIFAR-100",
    stand_ins=(),
    own=(TRADES_100, AT_100),
)
_T5 = HedgeTable(
    key="P2.T5",
    title="Robust accuracy of further nets on CIFAR-10",
    stand_ins=(WIDE_AT, FAST_AT),
    notes=("The paper evaluates these nets once.",),
)
_T7 = HedgeTable(
    key="P2.T7",
    title="Robust accuracy under l_2 attacks on CIFAR-10",
    stand_ins=(AT_L2,),
    columns=SHORT,
    norm="l2",
    notes=("The paper prints neither radius nor step of the l_2 hedge: ours are the attackers'.",),
)
T1, T2, T5, T7 = TABLE_1.item(), _T2.item(), _T5.item(), _T7.item()
