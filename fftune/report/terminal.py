"""Tables and text for people: as wide as the terminal, bold where it can draw that.

A page is a sequence of lines and grids. On a terminal the heads of a grid are underlined and its
worst cells are bold; in a pipe the same page is plain text of `WIDTH` columns, where an asterisk
marks those cells; Markdown is a third form.
"""

import os
import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDTH = 100
"""Columns of plain text, where no terminal says how many it has."""
WIDE = 140
"""Columns of text in files, which is looked at in a window that scrolls."""
NARROWEST = 40
"""Fewest columns that a page is drawn for; a terminal with fewer wraps its lines itself."""
GAP = 2
"""Columns between two columns of a grid."""
LONGEST_LABEL = 36
"""Columns of a row's name, above which it is wrapped."""
MARK = "*"
"""Mark of a worst cell where nothing can be bold."""
NUMBER = re.compile(r"[-+]?\d|undefined|-$|$")
"""Beginning of cells that are numbers, or stand for one."""
HANGING = re.compile(r"( *\S+(?: \S+)*  +)\S| *")
"""Beginning of a line below which its further lines start: its name and what parts them."""
LONGEST_HANGING = 24
"""Columns of that beginning, above which further lines start below the first word."""
UNIT, KEPT = re.compile(r"(?<=\d) (?=%)"), "\x00"
"""Blank that no line ends at, and what stands for it meanwhile."""
BLANK, RULE = "    ", " {0}{0} "
BOX = "\n".join([BLANK, BLANK, RULE, *[BLANK] * 5])
"""Lines of a box whose only line is below the heads."""


@dataclass(frozen=True, slots=True)
class Worst:
    """Text of a cell that is the worst of those it is compared with."""

    text: str

    def __str__(self) -> str:
        return self.text


Cell = str | Worst


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table: its first row holds the heads, the first column the names of the rows."""

    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    worst: str = ""
    """Meaning of its worst cells, as in "the worst net of each column"."""
    wraps: bool = False
    """Cells are text, which may be wrapped."""
    labels: int = 1
    """Leading columns that name a row; each part of a grid that is too wide has them."""

    @property
    def widths(self) -> list[int]:
        """Least columns that each column takes: heads are wrapped between words, cells not."""
        heads, *body = [[str(cell) for cell in row] for row in self.rows]
        words = [max(map(len, head.split()), default=0) for head in heads]
        cells = [max(map(len, column)) for column in zip(*body, strict=True)] or words
        first, *others = map(max, cells, words)
        return [min(first, max(LONGEST_LABEL, words[0])), *others]

    def fits(self, width: int) -> bool:
        """Do all columns stand side by side within so many columns of text?"""
        return self.wraps or sum(self.widths) + GAP * (len(self.rows[0]) - 1) <= width

    def parts(self, width: int) -> "list[Grid]":
        """Grids that fit: this one, or with its columns as rows, or parts of the columns.

        Each part has the names of the rows, and about as many columns as the others.
        """
        count = len(self.rows[0]) - self.labels
        if self.fits(width):
            return [self]
        turned = replace(self, rows=tuple(zip(*self.rows, strict=True)), labels=1)
        if len(self.rows) - 1 < count and turned.fits(width):
            return [turned]
        for groups in range(2, count + 1):
            parts = [self._of(columns) for columns in _shared(count, groups)]
            if groups == count or all(part.fits(width) for part in parts):
                return parts
        return [self]

    def _of(self, columns: Sequence[int]) -> "Grid":
        first = self.labels
        picked = ((*row[:first], *(row[first + at] for at in columns)) for row in self.rows)
        return replace(self, rows=tuple(picked))


Block = str | Grid
"""A line, which is wrapped below its beginning, or a grid."""


def grid(
    rows: Iterable[Sequence[Cell]],
    title: str = "",
    worst: str = "",
    *,
    wraps: bool = False,
    labels: int = 1,
) -> Grid:
    """Build a grid of rows, of which the first holds the heads; short rows end with empty cells."""
    filled = [tuple(row) for row in rows]
    width = max(map(len, filled))
    padded = tuple((*row, *[""] * (width - len(row))) for row in filled)
    return Grid(rows=padded, title=title, worst=worst, wraps=wraps, labels=labels)


def show(blocks: Iterable[Block], stream: TextIO | None = None) -> None:
    """Write a page to a stream, by default stdout: drawn on a terminal, else as plain text."""
    stream = sys.stdout if stream is None else stream
    if not _can_draw(stream):
        width = _columns(stream) if stream.isatty() else WIDTH
        print(plain(blocks, width), file=stream, flush=True)
        return
    _print(_console(stream), blocks)


def plain(blocks: Iterable[Block], width: int = WIDTH) -> str:
    """Format a page as text without colours: rules are dashes, and worst cells have asterisks."""
    written = StringIO()
    _print(_console(written, max(width, NARROWEST)), blocks)
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines())


def markdown(blocks: Iterable[Block]) -> str:
    """Format a page in Markdown: lines as items of a list, worst cells in bold."""
    lines: list[str] = []
    for block in blocks:
        if isinstance(block, Grid):
            lines += ["", *_markdown_grid(block), ""]
        else:
            lines.append(f"- {_escaped(block)}" if block.strip() else "")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def _shared(count: int, groups: int) -> list[range]:
    """Positions of the columns of each group."""
    ends = [round(count * group / groups) for group in range(groups + 1)]
    return [range(start, end) for start, end in pairwise(ends)]


def _can_draw(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def _columns(stream: TextIO) -> int:
    return max(_console(stream).width, NARROWEST)


def _console(stream: TextIO, width: int | None = None) -> "Console":
    from rich.console import Console  # imported where a page is written

    if width is None:
        return Console(file=stream, highlight=False)
    return Console(file=stream, width=width, highlight=False, color_system=None, _environ={})


def _print(console: "Console", blocks: Iterable[Block]) -> None:
    """Print a page as wide as a console."""
    from rich.text import Text

    width = max(console.width, NARROWEST)
    unicode = console.encoding.startswith("utf") and console.is_terminal
    for block in blocks:
        if isinstance(block, str):
            console.print(Text(_wrapped(block, width)), soft_wrap=True)
            continue
        block = block if console.is_terminal else _asterisked(block)
        if block.title:
            console.print(Text(_wrapped(block.title, width), style="bold"), soft_wrap=True)
        for at, part in enumerate(block.parts(width)):
            console.print(*[""] if at else [], _table(part, "─" if unicode else "-"), sep="\n")
        if block.worst and any(isinstance(cell, Worst) for row in block.rows for cell in row):
            mark = "bold:" if console.is_terminal else MARK
            console.print(Text(_wrapped(f"{mark} {block.worst}", width)), soft_wrap=True)


def _table(part: Grid, line: str) -> "Table":
    from rich.box import Box
    from rich.table import Table
    from rich.text import Text

    box = Box(BOX.format(line), ascii=line.isascii())
    table = Table(box=box, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0))
    heads, *body = part.rows
    for at, (head, least) in enumerate(zip(heads, part.widths, strict=True)):
        numbers = at > 0 and all(NUMBER.match(str(row[at])) for row in body)
        side: Literal["left", "right"] = "right" if numbers else "left"
        table.add_column(Text(str(head)), justify=side, min_width=None if part.wraps else least)
    for row in body:
        cells = ((str(cell), "bold" if isinstance(cell, Worst) else "") for cell in row)
        table.add_row(*(Text(text, style=style) for text, style in cells))
    return table


def _asterisked(block: Grid) -> Grid:
    """The grid with asterisks at its worst cells, and blanks below and above them."""
    marked = {at for row in block.rows for at, cell in enumerate(row) if isinstance(cell, Worst)}
    rows = (
        tuple(
            Worst(f"{cell}{MARK}") if isinstance(cell, Worst)
            else f"{cell} " if at in marked and cell and line else cell
            for at, cell in enumerate(row)
        )
        for line, row in enumerate(block.rows)
    )  # fmt: skip
    return replace(block, rows=tuple(rows))


def _wrapped(line: str, width: int) -> str:
    """A line cut between words, its further lines below the text that follows its name."""
    if "://" in line:  # an address, or a command with one, is copied whole
        return line
    found = HANGING.match(line)
    hanging = len(found.group(1) or found.group()) if found else 0
    if hanging > LONGEST_HANGING:
        hanging = len(line) - len(line.lstrip(" "))
    wrapped = textwrap.fill(
        UNIT.sub(KEPT, line),
        width,
        subsequent_indent=" " * hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return wrapped.replace(KEPT, " ")


def _markdown_grid(block: Grid) -> list[str]:
    heads, *body = block.rows
    numbers = [all(NUMBER.match(str(row[at])) for row in body) for at in range(len(heads))]
    sides = ["--:" if at and number else ":--" for at, number in enumerate(numbers)]
    title = [f"**{_escaped(block.title)}**", ""] if block.title else []
    lines = [[_escaped(str(head)) for head in heads], sides]
    lines += [
        [f"**{_escaped(str(c))}**" if isinstance(c, Worst) else _escaped(str(c)) for c in row]
        for row in body
    ]
    below = ["", f"Bold: {_escaped(block.worst)}"] if block.worst else []
    return [*title, *(f"| {' | '.join(line)} |" for line in lines), *below]


def _escaped(text: str) -> str:
    """One line of text without a meaning in Markdown."""
    return re.sub(r"([\\`*_|<>#])", r"\\\1", " ".join(text.split()))
