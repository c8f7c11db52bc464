"""Report of fronts as one HTML file that works without a network."""

from collections.abc import Sequence
from html import escape

from fftune import __version__
from fftune.config import Settings, to_json
from fftune.report.gaps import Gap
from fftune.report.html_document import html_document
from fftune.report.html_tables import meanings, one_by_one, scrolling
from fftune.report.plotly_code import plotly_code
from fftune.report.plots import fronts, gap
from fftune.report.results import StudyResult
from fftune.report.sentences import caveats, headlines
from fftune.report.tables import hypervolumes, means, table

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1c2024; max-width: 72rem;
       margin: 2rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2.5rem; }
.finding { font-size: 1.15rem; border-left: 4px solid #0b6e99; padding-left: 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #dde1e5; text-align: right; }
td { white-space: nowrap; }
th { vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; }
h3 { font-size: 1rem; margin: 1.25rem 0 .4rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-size: .9rem; }
dt { font-weight: 600; } dd { margin: 0; }
@media (max-width: 40rem) { dl { display: block; } dd { margin: 0 0 .4rem 1rem; } }
pre { background: #f4f6f8; padding: 1rem; overflow-x: auto; font-size: .8rem; }
li, footer { color: #4a5157; }
"""

BODY = """<h1>{title}</h1>
{findings}
<h2>Natural against hypocritical risk</h2>
{plotly}{figure}
<p>Axes begin where the points do; <em>from 0</em> shows how far that is. Hollow points are
dominated: another model is better in both risks.</p>
<ul>{caveats}</ul>
{gaps}
{means}
<h2>Every model, on the test images (percent)</h2>
{table}
<h2>Fronts</h2>
{hypervolumes}
{words}
{failures}
<h2>Settings</h2>
{settings}
<footer>fftune {version}</footer>
"""


BOOTSTRAP = "<p>Intervals are of a two-level bootstrap, of seeds and of images.</p>"
PLAIN = {
    "displaylogo": False,
    "showSendToCloud": False,  # pages offer no upload
    "modeBarButtonsToRemove": ["select2d", "lasso2d"],
}


def page(studies: Sequence[StudyResult], between: Sequence[Gap] = ()) -> str:
    """Lay out one study, or several side by side with the gaps between them."""
    failed = [
        f"{study.config.name}, {_named(failure.settings, failure.lam)}: {failure.reason}"
        for study in studies
        for failure in study.front.failures
    ]
    over_seeds, models, areas = means(studies), table(studies), hypervolumes(studies)
    title = "fftune: " + " and ".join(s.config.name for s in studies)
    body = BODY.format(
        title=escape(title),
        findings="\n".join(f'<p class="finding">{escape(s)}</p>' for s in headlines(studies)),
        plotly=plotly_code(),
        figure=fronts(studies).to_html(full_html=False, include_plotlyjs=False, config=PLAIN),
        caveats="".join(f"<li>{escape(line)}</li>" for line in caveats(studies)),
        gaps="".join(map(_gap, between)),
        means=f"<h2>Means over training seeds (percent)</h2>{BOOTSTRAP}{one_by_one(over_seeds)}"
        if len(over_seeds)
        else "",
        table=one_by_one(models),
        hypervolumes=scrolling(areas),
        words=meanings(over_seeds, models, areas),
        failures=_list("Failed trials", failed),
        settings="\n".join(_settings(study) for study in studies),
        version=__version__,
    )
    return html_document(title, STYLE, body)


def _gap(found: Gap) -> str:
    """Lay out the band between two fronts, and its sentence."""
    text = f'<h2>At equal natural risk</h2><p class="finding">{escape(str(found))}</p>'
    if not len(found.band.natural):
        return text
    figure = gap(found.names, found.band)
    return text + str(figure.to_html(full_html=False, include_plotlyjs=False, config=PLAIN))


def _named(settings: Settings, lam: float | None) -> str:
    others = "".join(f", {path} {value}" for path, value in settings.items() if path != "lam")
    return f"lambda {lam:g}{others}"


def _list(title: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h2>{title}</h2><ul>{items}</ul>" if lines else ""


def _settings(study: StudyResult) -> str:
    name, text = escape(study.config.name), escape(to_json(study.config))
    return f"<details><summary>{name}</summary><pre>{text}</pre></details>"
