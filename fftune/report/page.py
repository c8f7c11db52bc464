"""A report as one HTML file that works without a network."""

from collections.abc import Sequence
from html import escape

from fftune import __version__
from fftune.config import Settings, to_json
from fftune.report.gaps import Gap
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
th:first-child, td:first-child { text-align: left; }
pre { background: #f4f6f8; padding: 1rem; overflow-x: auto; font-size: .8rem; }
li, footer { color: #4a5157; }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{findings}
<h2>Natural against hypocritical risk</h2>
{figure}
<ul>{caveats}</ul>
{gaps}
<h2>Every model, on the test images (percent)</h2>
<p>* on the front. D, A, F: accuracy on clean images, and after an adversary or a false friend.</p>
{means}<div class="scroll">{table}</div>
<h2>Fronts</h2>
<div class="scroll">{hypervolumes}</div>
{failures}
<h2>Settings</h2>
{settings}
<footer>fftune {version}</footer>
</body>
</html>
"""


PLAIN = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d"]}


def page(results: Sequence[StudyResult], between: Sequence[Gap] = ()) -> str:
    """The report of one study, or of several side by side, with the gaps between them."""
    failed = [
        f"{result.config.name}, {_named(failure.settings, failure.lam)}: {failure.reason}"
        for result in results
        for failure in result.front.failures
    ]
    return PAGE.format(
        style=STYLE,
        title=escape("fftune: " + " and ".join(r.config.name for r in results)),
        findings="\n".join(f'<p class="finding">{escape(s)}</p>' for s in headlines(results)),
        figure=fronts(results).to_html(full_html=False, include_plotlyjs=True, config=PLAIN),
        caveats="".join(f"<li>{escape(line)}</li>" for line in caveats(results)),
        gaps="".join(map(_gap, between)),
        means=_means(results),
        table=table(results).to_html(index=False, border=0),
        hypervolumes=hypervolumes(results).to_html(index=False, border=0),
        failures=_list("Failed trials", failed),
        settings="\n".join(_settings(result) for result in results),
        version=__version__,
    )


def _gap(found: Gap) -> str:
    """The band between two fronts, and what it says."""
    told = f'<h2>At equal natural risk</h2><p class="finding">{escape(str(found))}</p>'
    if not len(found.band.natural):
        return told
    figure = gap(found.names, found.band)
    return told + str(figure.to_html(full_html=False, include_plotlyjs=False, config=PLAIN))


def _means(results: Sequence[StudyResult]) -> str:
    rows = means(results)
    if rows.empty:
        return ""
    told = "<p>Means over training seeds, with two-level bootstrap intervals (percent):</p>"
    return f'{told}<div class="scroll">{rows.to_html(index=False, border=0)}</div>'


def _named(settings: Settings, lam: float | None) -> str:
    others = "".join(f", {path} {value}" for path, value in settings.items() if path != "lam")
    return f"lambda {lam:g}{others}"


def _list(title: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h2>{title}</h2><ul>{items}</ul>" if lines else ""


def _settings(result: StudyResult) -> str:
    name, text = escape(result.config.name), escape(to_json(result.config))
    return f"<details><summary>{name}</summary><pre>{text}</pre></details>"
