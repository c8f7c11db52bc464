"""Items of the papers as aligned text, Markdown, LaTeX and CSV."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from fftune.papers.artifacts import Artifact, Built, Cell, Table
from fftune.papers.declarations import Setup
from fftune.papers.pages.layout import Entry, Grid, Layout, direction
from fftune.papers.scales import STAND_INS
from fftune.recipes import Scale
from fftune.report import terminal

Form = Literal["text", "markdown", "latex", "csv"]
NOTE = (
    "Scale {scale}: nothing here reproduces a published number. {stand_ins} "
    "It shows the phenomenon, and whether its direction is that of the paper."
)
CSV_COLUMNS = (
    *("table", "row", "block", "group", "column"),
    *("ours_mean", "ours_sd", "ours_low", "ours_high", "ours_seeds", "ours_n"),
    *("published_mean", "published_sd", "difference", "verdict", "reason", "remark"),
)
_LATEX: dict[str, int | str | None] = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "λ": r"$\lambda$",
    "ε": r"$\varepsilon$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "²": "$^2$",
    "∞": r"$\infty$",
}


def render_item(built: Built, setup: Setup) -> str:
    """Write an item as text, under what its scale can show, or why it could not be built."""
    head = [f"{built.key}: {built.title}", scale_note(setup, built)]
    head += [f"it could not be built: {built.error}"] if built.error else []
    return "\n".join([*filter(None, head), "", render(built.artifacts)])


def scale_note(setup: Setup, built: Built) -> str:
    """Say that a scale reproduces nothing; empty for the full one, and for closed forms."""
    return "" if setup.scale == "full" or built.exact else note(setup.scale)


def note(scale: Scale) -> str:
    """Words on a scale that reproduces nothing: the stand-ins, and what it shows."""
    return NOTE.format(scale=scale, stand_ins=STAND_INS[scale])


def render(artifacts: Iterable[Artifact], form: Form = "text") -> str:
    """Write items in a form; LaTeX and CSV hold tables alone."""
    artifacts = list(artifacts)
    if form == "csv":
        return _csv([one for one in artifacts if isinstance(one, Table)])
    return "\n".join(filter(None, (_FORMS[form](one) for one in artifacts)))


def blocks_of(artifact: Artifact) -> list[terminal.Block]:
    """Lay out an item for a terminal, whose width parts tables that are wider."""
    if not isinstance(artifact, Table):
        return [*_text(artifact).splitlines(), ""]
    layout = Layout(table=artifact)
    blocks: list[terminal.Block] = []
    for one in layout.grids():
        heads = [" ".join(filter(None, head)) for head in one.heads]
        body = [[_marked(entry) for entry in line] for block in one.blocks for line in block]
        blocks += [terminal.grid([heads, *body], one.caption, labels=one.labels), ""]
    return [*blocks, *_below(layout), ""]


def _text(artifact: Artifact) -> str:
    if not isinstance(artifact, Table):
        lines = [f"{artifact.name}: {artifact.title}", *artifact.notes]
        return "\n".join([*lines, *map(direction, artifact.directions)]) + "\n"
    layout = Layout(table=artifact)
    lines = []
    for grid in layout.grids():
        lines += [grid.caption, "", *_aligned(grid), ""]
    return "\n".join([*lines, *_below(layout)]) + "\n"


def _aligned(grid: Grid) -> Iterator[str]:
    """Draw a grid in columns; groups of columns stand above them."""
    bodies = [[[_marked(entry) for entry in line] for line in block] for block in grid.blocks]
    names = [name for _, name in grid.heads]
    rows = [names, *(line for body in bodies for line in body)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for start, end, group in _spans(grid):
        missing = len(group) + 4 - sum(widths[start:end]) - 2 * (end - start - 1)
        widths[end - 1] += max(0, missing if group else 0)

    def line(texts: Sequence[str]) -> str:
        sides = ("<" if i < grid.labels else ">" for i in range(len(texts)))
        cells = zip(texts, sides, widths, strict=True)
        return "  ".join(f"{text:{side}{width}}" for text, side, width in cells).rstrip()

    if any(group for group, _ in grid.heads):
        parts = []
        for start, end, group in _spans(grid):
            width = sum(widths[start:end]) + 2 * (end - start - 1)
            parts.append(f" {group} ".center(width, "-") if group else " " * width)
        yield "  ".join(parts).rstrip()
    yield line(names)
    yield "-" * (sum(widths) + 2 * len(widths) - 2)
    for i, body in enumerate(bodies):
        if i and (len(body) > 1 or len(bodies[i - 1]) > 1):
            yield ""
        yield from map(line, body)


def _spans(grid: Grid) -> list[tuple[int, int, str]]:
    """First column, the one after the last, and the name of each group."""
    spans: list[tuple[int, int, str]] = []
    for i, (group, _) in enumerate(grid.heads):
        if spans and spans[-1][2] == group and (group or i < grid.labels):
            spans[-1] = (spans[-1][0], i + 1, group)
        else:
            spans.append((i, i + 1, group))
    return spans


def _marked(entry: Entry) -> str:
    return f"{entry.text} ({entry.marks})" if entry.marks else entry.text


def _below(layout: Layout) -> list[str]:
    """Lines below a table: sizes, footnotes, notes, directions."""
    marks = [f"({mark}) {text}" for text, mark in layout.footnotes.items()]
    table = layout.table
    said = [layout.sizes(), *marks, *table.notes, *map(direction, table.directions)]
    return [line for line in said if line]


def _markdown(artifact: Artifact) -> str:
    if not isinstance(artifact, Table):
        said = [*artifact.notes, *map(direction, artifact.directions)]
        items = "\n".join(f"- {_plain(line)}" for line in said)
        return f"**{_plain(f'{artifact.name}: {artifact.title}')}**\n\n{items}\n"
    layout = Layout(table=artifact)
    parts = []
    for grid in layout.grids():
        names = [_plain(" ".join(filter(None, head))) for head in grid.heads]
        sides = [":--" if i < grid.labels else "--:" for i in range(len(names))]
        lines = [names, sides]
        for block in grid.blocks:
            lines += [[_in_markdown(entry) for entry in line] for line in block]
        drawn = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts.append(f"**{_plain(grid.caption)}**\n\n{drawn}\n")
    items = "\n".join(f"- {_plain(line)}" for line in _below(layout))
    return "\n".join([*parts, items]) + "\n"


def _plain(text: str) -> str:
    """Text without a meaning in Markdown."""
    return re.sub(r"([\\`*_|<>#])", r"\\\1", text)


def _in_markdown(entry: Entry) -> str:
    mark = f"<sup>{entry.marks}</sup>" if entry.marks else ""
    return _plain(entry.text) + mark


def _latex(artifact: Artifact) -> str:
    if not isinstance(artifact, Table):
        return ""
    layout = Layout(table=artifact)
    drawn = [_tabular(grid) for grid in layout.grids()]
    below = [rf"{{\footnotesize {_escaped(line)}\par}}" for line in _below(layout)]
    return "\n".join(["% needs the package booktabs", *drawn, *below]) + "\n"


def _tabular(grid: Grid) -> str:
    sides = "".join("l" if i < grid.labels else "r" for i in range(len(grid.heads)))
    lines = [r"\begin{table}[ht]", r"\centering", rf"\caption{{{_escaped(grid.caption)}}}"]
    lines += [rf"\begin{{tabular}}{{{sides}}}", r"\toprule"]
    spans = [span for span in _spans(grid) if span[2]]
    if spans:
        lines += [
            _group_heads(grid),
            "".join(rf"\cmidrule(lr){{{a + 1}-{b}}}" for a, b, _ in spans),
        ]
    lines += [_row(_escaped(name) for _, name in grid.heads), r"\midrule"]
    for i, block in enumerate(grid.blocks):
        if i and (len(block) > 1 or len(grid.blocks[i - 1]) > 1):
            lines.append(r"\midrule")
        lines += [_row(_in_latex(entry) for entry in line) for line in block]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


def _group_heads(grid: Grid) -> str:
    heads = []
    for start, end, group in _spans(grid):
        heads.append(
            rf"\multicolumn{{{end - start}}}{{c}}{{{_escaped(group)}}}"
            if group
            else " & " * (end - start - 1)
        )
    return _row(heads)


def _row(cells: Iterable[str]) -> str:
    line = " & ".join(cells)
    # A bracket would be read as the length that the line break before it may take.
    return ("{}" if line.startswith("[") else "") + line + r" \\"


def _escaped(text: str) -> str:
    return text.translate(str.maketrans(_LATEX))


def _in_latex(entry: Entry) -> str:
    mark = f"$^{{{entry.marks}}}$" if entry.marks else ""
    return _escaped(entry.text) + mark


def _csv(tables: Sequence[Table]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for table in tables:
        for row in table.rows:
            for (group, column), cell in zip(table.columns, row.cells, strict=True):
                where = (table.name, row.label, row.block, group, column)
                writer.writerow([*where, *map(_plain_number, _numbers(cell)), *_words(cell)])
    return out.getvalue()


def _numbers(cell: Cell) -> tuple[float | None, ...]:
    ours, published = cell.ours, cell.published
    both = ours is not None and published is not None
    return (
        *((ours.mean, ours.sd, ours.low, ours.high, ours.seeds, ours.n) if ours else [None] * 6),
        *((published.mean, published.sd) if published else [None] * 2),
        ours.mean - published.mean if ours and published and both else None,
    )


def _words(cell: Cell) -> tuple[str, ...]:
    reason = "; ".join(filter(None, (cell.reason, cell.remark)))
    return cell.verdict, reason, cell.published.remark if cell.published else ""


def _plain_number(value: float | None) -> str:
    return "" if value is None or value != value else repr(value)


_FORMS: Mapping[str, Callable[[Artifact], str]] = {
    "text": _text,
    "markdown": _markdown,
    "latex": _latex,
}
