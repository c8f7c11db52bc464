"""Course of a study's search, as one HTML file that works without a network."""

import logging
from html import escape
from pathlib import Path

from fftune.config import Study
from fftune.errors import UserError
from fftune.report.html_document import html_document
from fftune.report.legible import legible
from fftune.report.page import PLAIN, STYLE
from fftune.report.plotly_code import plotly_code
from fftune.sweeping.optuna_plots import search_plots
from fftune.sweeping.optuna_storage import read_search
from fftune.sweeping.study_dir import StudyDir

log = logging.getLogger(__name__)

BODY = """<h1>{title}</h1>
<p>Objectives of the search, on the {selection} images; Optuna's own plots.</p>
{figures}
"""


def search_page(config: Study, folder: Path) -> str | None:
    """Lay out Optuna's plots of a search; None if it cannot be read or has no complete trial."""
    try:
        search = read_search(StudyDir(folder, config))
    except UserError as error:
        log.warning("no history of the search: %s", error)
        return None
    figures = search_plots(search) if search else {}
    if not figures:
        return None
    risks = [risk.replace("_", " ") for risk in config.risks]
    bent = {d.path for d in config.dimensions if d.scale == "log1p"}
    for figure in figures.values():
        legible(figure, risks, bent)
    sections = [
        f"<h2>{escape(title)}</h2>"
        + figure.to_html(full_html=False, include_plotlyjs=False, config=PLAIN)
        for title, figure in figures.items()
    ]
    title = f"fftune: the search of {config.name}"
    body = BODY.format(
        title=escape(title),
        selection=config.selection,
        figures="\n".join([plotly_code(), *sections]),
    )
    return html_document(title, STYLE, body)
