"""Grids of a table's texts, cell by cell, which text, Markdown and LaTeX draw."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

from fftune.papers.artifacts import Cell, Direction, Row, Table
from fftune.papers.tables.verdicts import OTHER_SCALE

OF_ANOTHER_SCALE = "Published, at the paper's scale: not comparable with ours"
FEW = 1000
"""With fewer examples than this, a second decimal says nothing."""


class Entry(NamedTuple):
    """Text of a cell, and the letters of its footnotes."""

    text: str
    marks: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table of plain texts."""

    caption: str
    heads: tuple[tuple[str, str], ...]
    """(group, column) of every column, those of the labels too."""
    labels: int
    """Number of leading columns that hold labels."""
    blocks: tuple[tuple[tuple[Entry, ...], ...], ...]
    """Lines that stand together."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A table with its footnotes, as every form shows them."""

    table: Table

    @property
    def heading(self) -> str:
        """Name, title and unit."""
        unit = f" ({self.table.unit})" if self.table.unit else ""
        return f"{self.table.name}: {self.table.title}{unit}"

    @property
    def blocks(self) -> list[tuple[str, list[Row]]]:
        """Rows that stand together, by the name of their block."""
        return [(name, list(rows)) for name, rows in groupby(self.table.rows, lambda r: r.block)]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Groups of columns, with the number of columns of each."""
        runs = groupby(group for group, _ in self.table.columns)
        return [(name, len(list(run))) for name, run in runs]

    @cached_property
    def footnotes(self) -> dict[str, str]:
        """Letter of every remark and reason; the reason that all share has none."""
        said = (text for cell in self.cells for text in (*_on_ours(cell), *_on_theirs(cell)))
        return {text: _letters(i) for i, text in enumerate(dict.fromkeys(said))}

    @property
    def cells(self) -> Iterator[Cell]:
        """All cells, row by row."""
        return (cell for row in self.table.rows for cell in row.cells)

    @property
    def is_of_another_scale(self) -> bool:
        """Tell if published numbers are shown that this scale cannot reproduce."""
        return any(cell.published and cell.reason == OTHER_SCALE for cell in self.cells)

    @property
    def _pairs(self) -> Iterator[bool]:
        return (bool(cell.ours and cell.published) for cell in self.cells)

    @property
    def _has_published(self) -> bool:
        return any(cell.published for cell in self.cells)

    def ours(self, cell: Cell) -> Entry:
        """Mean of ours, with its deviation over seeds."""
        marks = self._marks(_on_ours(cell))
        if cell.ours is None:
            return Entry("-", marks)
        return Entry(self._spread(cell.ours.mean, cell.ours.sd), marks)

    def theirs(self, cell: Cell) -> Entry:
        """The printed number; empty: there is none."""
        if cell.published is None:
            return Entry("")
        printed = self._spread(cell.published.mean, cell.published.sd, decimals=2)
        return Entry(printed, self._marks(_on_theirs(cell)))

    def interval(self, cell: Cell) -> str:
        """The 95 % interval of ours; empty: it has none, or the number is exact."""
        if cell.ours is None or cell.ours.low != cell.ours.low or cell.ours.low == cell.ours.high:
            return ""
        return f"[{self._number(cell.ours.low)}, {self._number(cell.ours.high)}]"

    def _interval_entry(self, cell: Cell) -> Entry:
        return Entry(self.interval(cell))

    def difference(self, cell: Cell) -> str:
        """Ours less theirs, with its sign; empty: one is missing."""
        if cell.ours is None or cell.published is None:
            return ""
        difference = cell.ours.mean - cell.published.mean
        size = self._number(abs(difference))
        return size if not float(size.replace(",", "")) else f"{'-+'[difference > 0]}{size}"

    def sizes(self) -> str:
        """Say how many examples and seeds numbers are of; empty: there are none."""
        measures = [cell.ours for cell in self.cells if cell.ours]
        n = sorted({measure.n for measure in measures if measure.n})
        seeds = sorted({m.seeds for m in measures if m.sd == m.sd})
        said = [f"n = {_range(n)}"] if n else []
        said += [f"± is the deviation over {_range(seeds)} seeds or draws"] if seeds else []
        has_interval = any(map(self.interval, self.cells))
        return "; ".join([*said, *(["intervals are of 95 %"] if has_interval else [])])

    def grids(self) -> list[Grid]:
        """Our numbers as the paper lays them out, then what stands beside the published ones."""
        found = [self._grid(self.heading, self.ours)]
        has_intervals = any(map(self.interval, self.cells))
        if has_intervals and (self.is_of_another_scale or not self._has_published):
            found.append(self._grid("95 % intervals of ours", self._interval_entry))
        if self.is_of_another_scale or (self._has_published and not any(self._pairs)):
            caption = OF_ANOTHER_SCALE if self.is_of_another_scale else "Published"
            found.append(self._grid(caption, self.theirs))
        elif self._has_published:
            found.append(self._comparisons(tuple(self._beside())))
        return found

    def _beside(self) -> Iterator[tuple[Entry, ...]]:
        """Lines of all cells that have a published one."""
        for row in self.table.rows:
            for (group, column), cell in zip(self.table.columns, row.cells, strict=True):
                if cell.published:
                    where = ", ".join(filter(None, (row.block, row.label, group, column)))
                    yield (
                        Entry(where),
                        self.ours(cell),
                        Entry(self.interval(cell)),
                        self.theirs(cell),
                        Entry(self.difference(cell)),
                        Entry(cell.verdict if cell.ours else ""),
                    )

    def _comparisons(self, lines: tuple[tuple[Entry, ...], ...]) -> Grid:
        names = ("", "ours", "95 % interval", "published", "difference", "verdict")
        return Grid(
            caption="Beside the published numbers",
            heads=tuple(("", name) for name in names),
            labels=1,
            blocks=(lines,),
        )

    def _grid(self, caption: str, shown: Callable[[Cell], Entry]) -> Grid:
        has_blocks = any(row.block for row in self.table.rows)
        labels = [("", ""), ("", self.table.corner)] if has_blocks else [("", self.table.corner)]
        blocks = []
        for name, rows in self.blocks:
            lines = []
            for i, row in enumerate(rows):
                block = [Entry("" if i else name)] if has_blocks else []
                lines.append((*block, Entry(row.label), *map(shown, row.cells)))
            blocks.append(tuple(lines))
        if not has_blocks:
            blocks = [tuple(line for block in blocks for line in block)]
        return Grid(
            caption=caption,
            heads=(*labels, *self.table.columns),
            labels=len(labels),
            blocks=tuple(blocks),
        )

    def _marks(self, texts: Iterable[str]) -> str:
        return ",".join(self.footnotes[text] for text in texts)

    def _spread(self, mean: float, sd: float, decimals: int | None = None) -> str:
        if mean != mean:
            return "undefined"
        spread = f"±{self._number(sd, decimals)}" if sd == sd else ""
        return self._number(mean, decimals) + spread

    def _number(self, value: float, decimals: int | None = None) -> str:
        if self.table.unit != "%":
            return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
        return f"{value:.{self._decimals if decimals is None else decimals}f}"

    @cached_property
    def _decimals(self) -> int:
        sizes = [cell.ours.n for cell in self.cells if cell.ours and cell.ours.n]
        return 1 if sizes and max(sizes) < FEW else 2


def direction(found: Direction) -> str:
    """A claim of the paper, whether it is seen here, and the numbers."""
    return f"{verdict(found)}: {found.claim} ({found.seen})"


def verdict(found: Direction) -> str:
    """`found`, `not found` or `undecided`."""
    return {True: "found", False: "not found", None: "undecided"}[found.found]


def _on_ours(cell: Cell) -> tuple[str, ...]:
    """Reasons and warnings that belong to our number, or to its place."""
    reason = "" if cell.reason == OTHER_SCALE else cell.reason
    return tuple(filter(None, (reason, cell.remark)))


def _on_theirs(cell: Cell) -> tuple[str, ...]:
    return (cell.published.remark,) if cell.published and cell.published.remark else ()


def _letters(i: int) -> str:
    """A, b, ... z, aa, ab, ..."""
    letter = "abcdefghijklmnopqrstuvwxyz"[i % 26]
    return _letters(i // 26 - 1) + letter if i >= 26 else letter


def _range(values: Sequence[int]) -> str:
    low, high = values[0], values[-1]
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
