"""Publication of fronts of trainings: one study, or several side by side."""

from collections.abc import Mapping
from pathlib import Path

from fftune.config import SweepConfig
from fftune.report.gaps import gaps
from fftune.report.page import page
from fftune.report.publish import SEARCH_PAGE, log_to_mlflow, write_search_page
from fftune.report.results import read_results
from fftune.report.sentences import caveats, headlines
from fftune.report.tables import hypervolumes, table
from fftune.storage import write_text


def publish_fronts(configs: Mapping[str, SweepConfig], root: Path) -> str:
    """Write the report of some studies, given by name, and return the text for a terminal.

    Raises:
        StudyError: the studies are not comparable; see `read_results`.
    """
    names = list(configs)
    studies = read_results(names, root)
    place = root / "studies" / names[0] / "report.html"
    if len(names) > 1:
        place = root / "reports" / f"{'+'.join(names)}.html"
    between = gaps(studies)
    write_text(place, page(studies, between))
    views = dict.fromkeys(
        log_to_mlflow(
            study.config,
            study.front,
            {"report.html": page([study]), **write_search_page(study.config, root)},
            root,
        )
        for study in studies
    )
    searches = (root / "studies" / name / SEARCH_PAGE for name in names)
    return "\n".join(
        [
            table(studies).to_string(index=False),
            "",
            hypervolumes(studies).to_string(index=False),
            "",
            *caveats(studies),
            "",
            f"report  {place}",
            *(f"search  {path}" for path in searches if path.exists()),
            *views,
            "",
            *map(str, between),
            *headlines(studies),
        ]
    )
