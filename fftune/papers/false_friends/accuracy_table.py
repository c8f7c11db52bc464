"""Tables of accuracies over training seeds, in the layout of Tao et al. 2022, tables 1 to 9."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fftune.config import Norm
from fftune.papers.artifacts import Direction, Table
from fftune.papers.declarations import Exam, Net, Setup
from fftune.papers.items import Item
from fftune.papers.results import Results
from fftune.papers.scales import seeds_of
from fftune.papers.tables.net_risks import INFLATION, NetRisks, risks_of, row_of
from fftune.papers.tables.published import published
from fftune.recipes import TrainingData

ACCURACIES = ("D", "A", "F")
RISKS = ("R_nat", "R_adv on D+", "R_hyp on D-", INFLATION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row of a table: a kind of training data, and how nets are trained on them."""

    label: str
    kind: TrainingData
    objective: str = "standard"
    lam: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group of columns: a data set and an architecture."""

    label: str
    data: str = "cifar10"
    model: str = "resnet18"


Found = Mapping[tuple[str, str], NetRisks]
"""Risks by the labels of line and group."""
Claim = Callable[[Found], Direction]


@dataclass(frozen=True, kw_only=True)
class AccuracyTable:
    """A table of D, A and F: kinds of nets in rows, data sets or architectures in columns."""

    key: str
    title: str
    lines: Sequence[Line]
    groups: Sequence[Group]
    norm: Norm = "linf"
    claims: Sequence[Claim] = ()
    references: Sequence[Line] = ()
    """Rows of other tables that the claims are about, too."""
    deviations: bool = True
    """False: means alone are printed."""
    notes: Sequence[str] = field(default_factory=tuple)

    def exams(self, line: Line, group: Group, setup: Setup) -> list[Exam]:
        """The evaluations of one cell, one for each training seed."""
        return [
            Exam(
                net=Net(
                    data=group.data,
                    model=group.model,
                    kind=line.kind,
                    objective=line.objective,
                    lam=line.lam,
                    norm=self.norm,
                    seed=seed,
                ),
                norm=self.norm,
            )
            for seed in seeds_of(setup)
        ]

    def needs(self, setup: Setup) -> list[Exam]:
        """All evaluations."""
        places = ((line, group) for line in self._everything for group in self.groups)
        return [exam for place in places for exam in self.exams(*place, setup)]

    def build(self, results: Results) -> list[Table]:
        """The table as printed, and one of the risks of the same nets."""
        found = {
            (line.label, group.label): risks_of(results, self.exams(line, group, results.setup))
            for line in self._everything
            for group in self.groups
        }
        directions = tuple(claim(found) for claim in self.claims)
        notes = tuple(note for place, one in found.items() for note in one.notes(" ".join(place)))
        return [
            self._table(found, results.setup, ACCURACIES, directions, (*self.notes, *notes)),
            self._table(found, results.setup, RISKS, (), (OF_RISKS, *notes)),
        ]

    def item(self) -> Item:
        """The table as an item of the paper."""
        return Item(key=self.key, title=self.title, needs=self.needs, build=self.build)

    @property
    def _everything(self) -> list[Line]:
        return [*self.lines, *self.references]

    def _table(
        self,
        found: Found,
        setup: Setup,
        columns: Sequence[str],
        directions: tuple[Direction, ...],
        notes: tuple[str, ...],
    ) -> Table:
        printed = columns == ACCURACIES
        rows = (
            row_of(
                line.label,
                (
                    found[line.label, group.label].cell(
                        name,
                        published(self.key, line.label, group.label, name),
                        setup,
                        deviations=self.deviations,
                    )
                    for group in self.groups
                    for name in columns
                ),
            )
            for line in self.lines
        )
        return Table(
            name=self.key if printed else f"{self.key}.risks",
            title=self.title if printed else f"{self.title}: risks of the same nets",
            columns=tuple((group.label, name) for group in self.groups for name in columns),
            rows=tuple(rows),
            corner="Model",
            notes=notes,
            directions=directions,
        )


OF_RISKS = (
    "The inflation is the share of all images whose mistake a friend conceals: natural risk times "
    "hypocritical risk on D-, and F - D where no correct image is broken."
)
