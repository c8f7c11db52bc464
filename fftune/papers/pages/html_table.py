"""Tables of the papers in HTML: each of our numbers above the published one."""

from collections.abc import Iterator
from html import escape

from fftune.papers.artifacts import Cell, Direction, Row, Table, Verdict
from fftune.papers.pages.layout import OF_ANOTHER_SCALE, Entry, Layout, verdict

SIGNS: dict[Verdict, str] = {"within": "✓", "outside": "✗", "not comparable": "", "none": ""}
TABLE_STYLE = """
table.paper { margin: .8rem 0; } table.paper td, table.paper th { white-space: nowrap; }
table.paper td { vertical-align: top; line-height: 1.25; }
table.paper tbody { border-bottom: 2px solid #adb5bd; }
table.paper tbody th { text-align: left; font-weight: 500; vertical-align: top; }
table.paper th.group { text-align: center; border-bottom: 1px solid #adb5bd; }
.spread, .interval, .published, .n { color: #4a5157; font-size: .8em; }
td .interval, td > .published { display: block; }
.published.far { color: #6c757d; font-style: italic; }
.within { color: #0b6e99; } .outside { color: #b53d00; font-weight: 600; }
table.paper thead tr + tr th { text-align: right; } sup { color: #862e9c; line-height: 0; }
ul.directions { list-style: none; padding: 0; } ul.directions li { margin: .3rem 0; }
.seen { color: #4a5157; }
.badge { display: inline-block; min-width: 5.4rem; padding: 0 .5rem; margin-right: .5rem;
         border-radius: .7rem; text-align: center; font-size: .85rem; border: 1px solid; }
.badge.found { color: #0b6e99; } .badge.not-found { color: #b53d00; }
.badge.undecided { color: #4a5157; border-style: dashed; }
"""
"""Blue and orange differ for every kind of colour vision; signs and words say the same."""


def html_table(table: Table) -> str:
    """Lay out a table as its paper does; it scrolls where it is wider than the screen."""
    layout = Layout(table=table)
    has_blocks = any(row.block for row in table.rows)
    bodies = layout.blocks if has_blocks else [("", list(table.rows))]
    drawn = "\n".join(_body(layout, name, rows, has_blocks) for name, rows in bodies)
    head = _head(layout, has_blocks)
    return (
        f'<div class="scroll"><table class="paper">\n<thead>{head}</thead>\n{drawn}\n'
        f"</table></div>\n{_below(layout)}"
    )


def html_directions(directions: tuple[Direction, ...]) -> str:
    """List claims of the paper, each with what is seen of it here."""
    if not directions:
        return ""
    items = "\n".join(
        f'<li><span class="badge {verdict(one).replace(" ", "-")}">{verdict(one)}</span>'
        f'{escape(one.claim)} <span class="seen">({escape(one.seen)})</span></li>'
        for one in directions
    )
    return f'<ul class="directions">\n{items}\n</ul>\n'


def html_notes(notes: tuple[str, ...]) -> str:
    """List notes."""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f"<ul>{items}</ul>\n" if notes else ""


def _head(layout: Layout, has_blocks: bool) -> str:
    table = layout.table
    labels = 1 + has_blocks
    corner = escape(table.corner)
    if not any(group for group, _ in table.columns):
        return f"<tr>{'<th></th>' * (labels - 1)}<th>{corner}</th>{_names(table)}</tr>"
    groups = "".join(
        f'<th class="group" colspan="{n}">{escape(name)}</th>' if name else "<th></th>" * n
        for name, n in layout.groups
    )
    span = f' colspan="{labels}"' if has_blocks else ""
    return f'<tr><th rowspan="2"{span}>{corner}</th>{groups}</tr>\n<tr>{_names(table)}</tr>'


def _names(table: Table) -> str:
    return "".join(f"<th>{escape(name)}</th>" for _, name in table.columns)


def _body(layout: Layout, name: str, rows: list[Row], has_blocks: bool) -> str:
    block = f'<th rowspan="{len(rows)}">{escape(name)}</th>' if has_blocks else ""
    lines = []
    for i, row in enumerate(rows):
        cells = "".join(_cell(layout, cell) for cell in row.cells)
        label = f'<th scope="row">{escape(row.label)}</th>'
        lines.append(f"<tr>{'' if i else block}{label}{cells}</tr>")
    return "<tbody>" + "\n".join(lines) + "</tbody>"


def _cell(layout: Layout, cell: Cell) -> str:
    ours = layout.ours(cell)
    mean, sign, spread = ours.text.partition("±")
    parts = [escape(mean), f'<span class="spread">±{spread}</span>' if sign else "", _sup(ours)]
    if interval := layout.interval(cell):
        parts.append(f'<span class="interval">{interval}</span>')
    if cell.published is not None:
        parts.append(_published(layout, cell))
    return f"<td{_said(cell)}>{''.join(parts)}</td>"


def _published(layout: Layout, cell: Cell) -> str:
    printed = layout.theirs(cell)
    text = escape(printed.text) + _sup(printed)
    if cell.verdict not in ("within", "outside"):
        far = " far" if layout.is_of_another_scale else ""
        return f'<span class="published{far}">{text}</span>'
    said = f"{layout.difference(cell)} {SIGNS[cell.verdict]}"
    return f'<span class="published">{text} <span class="{cell.verdict}">{said}</span></span>'


def _said(cell: Cell) -> str:
    """Words for those who point at a cell or hear it read."""
    if cell.ours is None:
        return f' title="{escape(cell.reason)}"'
    size = f"n = {cell.ours.n:,}, seeds: {cell.ours.seeds}" if cell.ours.n else ""
    known = cell.verdict if cell.verdict != "none" else ""
    words = ", ".join(filter(None, (known, cell.reason, cell.remark, size)))
    return f' title="{escape(words)}"' if words else ""


def _sup(entry: Entry) -> str:
    return f"<sup>{entry.marks}</sup>" if entry.marks else ""


def _below(layout: Layout) -> str:
    """Sizes, the legend, footnotes, notes and directions."""
    lines = "".join(f"<li>{line}</li>" for line in _legend(layout))
    return (
        f"<ul>{lines}</ul>\n{html_notes(layout.table.notes)}"
        f"{html_directions(layout.table.directions)}"
    )


def _legend(layout: Layout) -> Iterator[str]:
    if sizes := layout.sizes():
        yield escape(sizes)
    if layout.is_of_another_scale:
        yield f'<span class="published far">Italic.</span> {escape(OF_ANOTHER_SCALE)}.'
    verdicts = {cell.verdict for cell in layout.cells}
    if verdicts & {"within", "outside"}:
        yield (
            "Below ours: the published number, and ours less that. "
            '<span class="within">✓ within</span>, <span class="outside">✗ outside</span> '
            "the tolerance."
        )
    for text, mark in layout.footnotes.items():
        yield f"<sup>{mark}</sup> {escape(text)}"
