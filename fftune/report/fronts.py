"""Publication of fronts of trainings: one study, or several side by side."""

from collections.abc import Mapping
from pathlib import Path

from fftune.config import SweepConfig
from fftune.names import joined_name
from fftune.report.files import keep_page
from fftune.report.front_page import front_page
from fftune.report.gaps import gaps
from fftune.report.page import page
from fftune.report.publish import keep_search_page, log_to_mlflow
from fftune.report.result_page import ResultPage
from fftune.report.results import read_results
from fftune.report.variant_fronts import variant_blocks, variant_fronts, variant_gaps


def publish_fronts(configs: Mapping[str, SweepConfig], root: Path) -> ResultPage:
    """Write the report of some studies, given by name, and return its page for a terminal.

    Raises:
        StudyError: the studies are not comparable; see `read_results`.
    """
    names = list(configs)
    studies = read_results(names, root)
    place = root / "studies" / names[0] / "report.html"
    if len(names) > 1:
        place = root / "reports" / f"{joined_name(names)}.html"
    others = [variant_fronts(study) for study in studies]
    each = [*zip(studies, others, strict=True)]
    between = gaps(studies) + [g for one, fronts in each for g in variant_gaps(one, fronts)]
    beside = [block for one, fronts in each for block in variant_blocks(one, fronts)]
    kept = keep_page(place, page(studies, between))
    searches: list[str] = []
    views: dict[str, None] = {}
    for study in studies:
        pages, where = keep_search_page(study.config, root)
        searches += where
        pages = {"report.html": page([study]), **pages}
        views[log_to_mlflow(study.config, study.front, pages, root)] = None
    return front_page(studies, between, [*kept, *searches, *views], beside)
