"""Pages of the papers' tables and figures, which work without a network."""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Literal

from fftune import __version__
from fftune.names import plain_name
from fftune.papers.artifacts import Built, Figure, Gallery, Picture, Strip, Table
from fftune.papers.declarations import Setup
from fftune.papers.pages.html_table import TABLE_STYLE, html_directions, html_notes, html_table
from fftune.papers.pages.layout import verdict
from fftune.papers.pages.pictures import PictureFormat, save_pictures
from fftune.papers.pages.render import Form, note, render, render_item, scale_note
from fftune.papers.pages.summaries import summaries
from fftune.registry import PAPERS
from fftune.report.html_document import html_document
from fftune.report.page import PLAIN, STYLE
from fftune.storage import write_text
from fftune.stored_file import read_text

log = logging.getLogger(__name__)

INDEX, PLOTLY = "index.html", "plotly.min.js"
FILES: Mapping[Form, str] = {"text": "txt", "markdown": "md", "latex": "tex", "csv": "csv"}
PAPER_NAMES = {
    "P1": "Tao et al. 2022: False Friends",
    "P2": "Wu et al. 2021: Hedge Defense",
    "": "Others",
}
"""Headings of the index by the beginning of keys."""
PAGE_STYLE = """
body { max-width: 84rem; } nav { display: flex; gap: 1.2rem; flex-wrap: wrap; margin: .5rem 0; }
a { color: #0b6e99; } .scale { background: #fff4e6; border-left: 4px solid #d9480f;
padding: .6rem 1rem; } .failed { color: #b53d00; } h3 { font-size: 1rem; margin-top: 1.8rem; }
table.index td, table.index th { text-align: left; vertical-align: top; }
table.gallery td, table.gallery th { text-align: center; vertical-align: top;
border-bottom: 0; padding: .25rem; font-size: .8rem; line-height: 1.2; }
table.gallery th { font-weight: 500; vertical-align: middle; text-align: left; }
table.gallery img { display: block; margin: 0 auto .2rem; width: 6rem; height: auto;
image-rendering: pixelated; } .red { color: #c92a2a; } .green { color: #2b8a3e; }
footer { margin-top: 3rem; font-size: .85rem; }
@media (max-width: 40rem) { body { margin: 1rem auto; padding: 0 .7rem; }
table.gallery img { width: 4.5rem; } }
"""
Plotly = Literal["directory"] | bool
"""Plotly in a page: as the file beside it, all of it, or none."""
SIGN: dict[Literal["red", "green", ""], str] = {"red": "✗", "green": "✓", "": ""}
EVERY = "every"
"""Scale of what is in closed form."""
INDEX_COLUMNS = ("key", "what it is", "state", "scale", "numbers", "directions", "files")


def write_item(
    built: Built, setup: Setup, folder: Path, pictures: Sequence[PictureFormat] = ()
) -> None:
    """Write the page of an item, and its files beside it; the next index links them.

    An item that was built earlier is replaced, and its page links no neighbours until then.

    Args:
        pictures: formats in which figures are saved as well.

    Raises:
        ConfigError: what draws pictures is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = _write_files(built, setup, folder)
    files += save_pictures(built, folder, pictures)
    write_text(folder / f"{plain_name(built.key)}.html", _page(built, setup, files))
    summary = json.dumps(_summary(built, setup, files)) + "\n"
    write_text(folder / f"{plain_name(built.key)}.json", summary)


def write_index(folder: Path) -> Path:
    """Write the index of all items that lie in a folder, and the links from page to page.

    Returns:
        The index.
    """
    known = summaries(folder)
    _link(known, folder)
    write_text(folder / INDEX, _index(known))
    return folder / INDEX


def _write_files(built: Built, setup: Setup, folder: Path) -> list[str]:
    """Write the forms for other programs; what an earlier run left there goes."""
    tables = any(isinstance(one, Table) for one in built.artifacts)
    files = []
    for form, suffix in FILES.items():
        path = folder / f"{plain_name(built.key)}.{suffix}"
        if not built.artifacts or not (tables or form in ("text", "markdown")):
            path.unlink(missing_ok=True)
            continue
        text = render_item(built, setup) if form == "text" else render(built.artifacts, form)
        write_text(path, text)
        files.append(path.name)
    if any(isinstance(one, Figure) for one in built.artifacts):
        _write_plotly(folder / PLOTLY)
    return files


def _write_plotly(path: Path) -> None:
    from plotly.offline import get_plotlyjs

    code = get_plotlyjs()
    if not path.exists() or read_text(path, "plotly's code") != code:
        write_text(path, code)


def standalone(built: Built, setup: Setup) -> str:
    """Lay out an item as one file, with all that draws its figures inside."""
    return _page(built, setup, (), plotly=True)


def plain_page(built: Built, root: Path) -> Path:
    """Write an item that is of no paper to one file in `<root>/reports`; return the file."""
    place = root / "reports" / f"{plain_name(built.key)}.html"
    write_text(place, standalone(built, Setup(scale="full")))
    return place


def _page(built: Built, setup: Setup, files: Sequence[str], *, plotly: Plotly = "directory") -> str:
    parts = ["<nav></nav>", f"<h1>{escape(built.key)}: {escape(built.title)}</h1>"]
    if note := scale_note(setup, built):
        parts.append(f'<p class="scale">{escape(note)}</p>')
    if built.error:
        parts.append(f'<p class="failed">It could not be built: {escape(built.error)}</p>')
    parts += _sections(built, plotly)
    if files:
        parts.append(f"<p>As files: {_links(files)}</p>")
    return _laid_out(f"{built.key}: {built.title}", parts)


def _sections(built: Built, plotly: Plotly) -> Iterator[str]:
    """Lay out each artifact; the first figure brings plotly."""
    for one in built.artifacts:
        if one.title != built.title:
            yield f"<h2>{escape(one.title)}</h2>"
        if isinstance(one, Table):
            yield html_table(one)
            continue
        if isinstance(one, Figure):
            yield _figure(one, plotly)
            plotly = False
        else:
            yield _gallery(one)
        yield html_notes(one.notes) + html_directions(one.directions)


def _figure(figure: Figure, plotly: Plotly) -> str:
    drawn = figure.plot.to_html(
        full_html=False,
        include_plotlyjs=plotly,
        config=PLAIN | {"responsive": True},
        div_id=figure.name,
    )
    return f'<div class="scroll">{drawn}</div>'


def _gallery(gallery: Gallery) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in gallery.columns)
    strips = "\n".join(map(_strip, gallery.strips))
    heads = f"<thead><tr><th></th>{head}</tr></thead>" if gallery.columns else ""
    return (
        f'<div class="scroll"><table class="gallery">{heads}<tbody>\n{strips}\n</tbody></table>'
        f"</div>\n{_colours(gallery)}"
    )


def _strip(strip: Strip) -> str:
    pictures = "".join(map(_picture, strip.pictures))
    return f'<tr><th scope="row">{escape(strip.label)}</th>{pictures}</tr>'


def _picture(picture: Picture) -> str:
    signed = picture.caption[:1] in tuple("✗✓")
    sign = "" if signed else SIGN[picture.colour]
    caption = escape(f"{sign} {picture.caption}".strip())
    words = escape(picture.caption or "image")
    return (
        f'<td><img src="data:image/png;base64,{escape(picture.png)}" alt="{words}">'
        f'<span class="{picture.colour}">{caption}</span></td>'
    )


def _colours(gallery: Gallery) -> str:
    """The legend of the colours that captions have."""
    used = {picture.colour for strip in gallery.strips for picture in strip.pictures}
    meaning = {"red": "a wrong label", "green": "a mistake that is concealed"}
    said = "; ".join(
        f'<span class="{name}">{SIGN[name]} {name}</span>: {text}'
        for name, text in meaning.items()
        if name in used
    )
    return f"<p>{said}.</p>" if said else ""


def _summary(built: Built, setup: Setup, files: Sequence[str]) -> dict[str, Any]:
    """Summary of an item, for the index."""
    tables = [one for one in built.artifacts if isinstance(one, Table)]
    cells = [cell for table in tables for row in table.rows for cell in row.cells]
    return {
        "schema_version": 1,
        "key": built.key,
        "name": plain_name(built.key),
        "title": built.title,
        "scale": EVERY if built.exact else setup.scale,
        "error": built.error,
        "cells": len(cells),
        "missing": sum(cell.ours is None for cell in cells),
        "verdicts": Counter(cell.verdict for cell in cells if cell.ours and cell.published),
        "directions": Counter(verdict(d) for one in built.artifacts for d in one.directions),
        "files": list(files),
    }


def _link(known: Iterable[str], folder: Path) -> None:
    """Give every page its links to the index and to its neighbours of now."""
    keys = list(known)
    for i, key in enumerate(keys):
        links = [f'<a href="{INDEX}">All tables and figures</a>']
        links += [f'<a rel="prev" href="{keys[i - 1]}.html">← {keys[i - 1]}</a>'] if i else []
        links += [f'<a rel="next" href="{k}.html">{k} →</a>' for k in keys[i + 1 : i + 2]]
        path = folder / f"{key}.html"
        page = read_text(path, "page")
        before, start, rest = page.partition("<nav>")
        _, end, after = rest.partition("</nav>")
        linked = before + start + "".join(links) + end + after
        if linked != page:
            write_text(path, linked)


def _index(known: Mapping[str, Mapping[str, Any]]) -> str:
    parts = ["<h1>Tables and figures of both papers</h1>"]
    scales = sorted({summary["scale"] for summary in known.values()} - {"full", EVERY})
    parts += [f'<p class="scale">{escape(note(scale))}</p>' for scale in scales]
    heads = "".join(f"<th>{name}</th>" for name in INDEX_COLUMNS)
    for prefix, paper in PAPER_NAMES.items():
        listed = (*(PAPERS if prefix else ()), *known)  # of others, only what was built
        keys = [key for key in dict.fromkeys(listed) if _prefix(key) == prefix]
        if not keys:
            continue
        rows = "\n".join(_index_row(key, known.get(key)) for key in keys)
        parts.append(
            f"<h2>{escape(paper)}</h2>\n"
            f'<div class="scroll"><table class="index"><thead><tr>{heads}</tr></thead>\n'
            f"<tbody>{rows}</tbody></table></div>"
        )
    return _laid_out("fftune: tables and figures of both papers", parts)


def _prefix(key: str) -> str:
    paper = key.partition(".")[0]
    return paper if paper in PAPER_NAMES else ""


def _index_row(key: str, summary: Mapping[str, Any] | None) -> str:
    if summary is None:
        known = f"<td>{escape(key)}</td><td>{escape(PAPERS[key].title)}</td>"
        return f"<tr>{known}<td>not built yet</td>{'<td></td>' * 4}</tr>"
    error = summary["error"]
    state = f'<span class="failed">not built: {escape(error)}</span>' if error else "built"
    cells = (
        f'<a href="{key}.html">{escape(key)}</a>',
        f'<a href="{key}.html">{escape(summary["title"])}</a>',
        state,
        escape(summary["scale"]),
        escape(_told(summary)),
        escape(_counted(summary["directions"])),
        _links(summary["files"]),
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _told(summary: Mapping[str, Any]) -> str:
    said = [_counted(summary["verdicts"])] if summary["verdicts"] else []
    said += [f"{summary['missing']} without a number"] if summary["missing"] else []
    return "; ".join(said)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in counts.items())


def _links(files: Sequence[str]) -> str:
    return " ".join(
        f'<a href="{escape(name)}">{escape(name.rpartition(".")[2])}</a>' for name in files
    )


def _laid_out(title: str, parts: Iterable[str]) -> str:
    body = "\n".join((*parts, f"<footer>fftune {__version__}</footer>"))
    return html_document(title, STYLE + TABLE_STYLE + PAGE_STYLE, body)
