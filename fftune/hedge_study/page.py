"""Report of a hedge study as one HTML file that works without a network."""

from html import escape
from typing import Any

from fftune import __version__
from fftune.config import to_json
from fftune.hedge_study.plots import (
    HEDGED,
    ablation,
    flips,
    hedge_front,
    similarities,
    slopes,
    surface,
)
from fftune.hedge_study.showcase_schema import Showcase, Strip
from fftune.hedge_study.summary import HedgeResult, hedge_caveats, hedge_headlines, hedge_table
from fftune.report.html_document import html_document
from fftune.report.html_tables import meanings, scrolling
from fftune.report.page import PLAIN, STYLE
from fftune.report.plotly_code import plotly_code

STRIPS = """
.strip { display: flex; flex-wrap: wrap; gap: .75rem; margin: 0 0 1rem; }
.strip figure { margin: 0; width: 8.5rem; }
.strip img { width: 100%; image-rendering: pixelated; border: 1px solid #dde1e5; }
.strip figcaption { font-size: .78rem; color: #4a5157; }
"""
BODY = """<h1>{title}</h1>
{findings}
{figures}
<ul>{caveats}</ul>
<h2>Every hedge (percent)</h2>
<p>* on the front of all three risks, as chosen.</p>
{table}
{words}
{showcase}
{failures}
<h2>Settings</h2>
<details><summary>{name}</summary><pre>{settings}</pre></details>
<footer>fftune {version}</footer>
"""


def hedge_page(result: HedgeResult) -> str:
    """Lay out fronts or ablations, the table, and the chosen hedge on single images."""
    figures, table = _Figures(), hedge_table(result)
    maps = ablation(result)
    parts = [figures.html(f) for f in maps] if maps else _fronts(result, figures)
    title = "Over a grid, on all images" if maps else "What a hedge costs, and what it is worth"
    failed = [f"{result.describe(f.settings)}: {f.reason}" for f in result.front.failures]
    page_title = f"fftune: {result.config.name}"
    body = BODY.format(
        title=escape(page_title),
        findings="\n".join(f'<p class="finding">{escape(s)}</p>' for s in hedge_headlines(result)),
        figures=f"<h2>{title}</h2>" + "\n".join(parts),
        caveats="".join(f"<li>{escape(line)}</li>" for line in hedge_caveats(result)),
        table=scrolling(table),
        words=meanings(table),
        showcase=_showcase(result.showcase, figures) if result.showcase else "",
        failures=_failures(failed),
        name=escape(result.config.name),
        settings=escape(to_json(result.config)),
        version=__version__,
    )
    return html_document(page_title, STYLE + STRIPS, body)


class _Figures:
    """Writer of figures as HTML, the first of which embeds plotly."""

    def __init__(self) -> None:
        self._first = True

    def html(self, figure: Any) -> str:
        text = str(figure.to_html(full_html=False, include_plotlyjs=False, config=PLAIN))
        first, self._first = self._first, False
        return plotly_code() + text if first else text


def _fronts(result: HedgeResult, figures: _Figures) -> list[str]:
    return [figures.html(hedge_front(result, risk)) for risk in HEDGED]


def _showcase(shown: Showcase, figures: _Figures) -> str:
    rows = "".join(
        f"<tr><td>{escape(one.case)}</td>"
        + "".join(f"<td>{v:.4f}</td>" for v in (one.natural, one.attacked, one.hedged))
        + "</tr>"
        for one in shown.linear
    )
    parts = [
        f"<h2>The chosen hedge on single images ({escape(shown.hedge)})</h2>",
        "<p>What it changes, beside uniform noise of the same radius.</p>",
        figures.html(flips(shown)),
        f"<p>{escape(shown.second_attack)}.</p>",
        "<h2>Slope of the false class less that of the true one, at attacked images</h2>",
        "<p>Hedge Defense relies on the false class being the steeper one: above zero.</p>",
        figures.html(slopes(shown.gaps)),
        *(_surface(figures.html(surface(one)), one.id) for one in shown.surfaces),
        "<h2>How alike the images are</h2>",
        figures.html(similarities(shown)),
        "<h2>Pictures</h2>",
        *map(_strip, shown.strips),
        "<h2>The linear model that explains it, in closed form</h2>",
        f"<table><tr><th></th><th>natural</th><th>attacked</th><th>hedged</th></tr>{rows}</table>",
    ]
    return "\n".join(parts)


def _surface(figure: str, number: int) -> str:
    return f"<h2>Loss of both classes around attacked image {number}</h2>{figure}"


def _strip(strip: Strip) -> str:
    pictures = "".join(
        f'<figure><img alt="{escape(p.caption)}" src="data:image/png;base64,{p.png}">'
        f"<figcaption>{escape(p.caption)}</figcaption></figure>"
        for p in strip.pictures
    )
    return f'<h3>{strip.id}: {escape(strip.kind)}</h3><div class="strip">{pictures}</div>'


def _failures(lines: list[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h2>Failed trials</h2><ul>{items}</ul>" if lines else ""
