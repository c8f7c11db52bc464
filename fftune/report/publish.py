"""Put a report where people look: a file, MLflow, and the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fftune.config import SweepConfig
from fftune.errors import StorageError
from fftune.report.gaps import gaps
from fftune.report.history import history
from fftune.report.page import page
from fftune.report.results import Result, read_results
from fftune.report.sentences import caveats, headlines
from fftune.report.tables import hypervolumes, table
from fftune.storage import write_text
from fftune.tracking import Tracking, log_front, open_tracking, save_view, send_unsent


def publish(names: Sequence[str], root: Path) -> str:
    """Write the report of some studies; what a terminal should say of it.

    One study's report lies in its folder, a comparison in `reports/`; how each search went, in
    `search.html`. Every front becomes a run in its MLflow experiment, and the page that compares
    them gets its address.

    Raises:
        StudyError: a study has no front, or the studies are not comparable.
    """
    results = read_results(names, root)
    place = root / "studies" / names[0] / "report.html"
    if len(names) > 1:
        place = root / "reports" / f"{'+'.join(names)}.html"
    between = gaps(results)
    write_text(place, page(results, between))
    views = dict.fromkeys(
        _to_mlflow(result, _history(result.config, root), root) for result in results
    )
    searches = (root / "studies" / name / SEARCH for name in names)
    return "\n".join(
        [
            table(results).to_string(index=False),
            "",
            hypervolumes(results).to_string(index=False),
            "",
            *caveats(results),
            "",
            f"report  {place}",
            *(f"search  {path}" for path in searches if path.exists()),
            *views,
            "",
            *map(str, between),
            *headlines(results),
        ]
    )


SEARCH = "search.html"


def _history(config: SweepConfig, root: Path) -> dict[str, str]:
    """How the search went, put beside the study's report; nothing where that is not known."""
    folder = root / "studies" / config.name
    html = history(config, folder)
    if html is None:
        return {}
    write_text(folder / SEARCH, html)
    return {SEARCH: html}


def _to_mlflow(result: Result, more: Mapping[str, str], root: Path) -> str:
    """Log the front; how to see it, or why not."""
    try:
        tracking = open_tracking(root, result.config.experiment)
    except StorageError as error:
        return f"fronts  not in MLflow: {error}; fftune report {result.config.name} tries again"
    send_unsent(tracking)
    front = result.front
    log_front(
        tracking,
        f"{front.study} front",
        front.curve("test"),
        tags={"fftune.study": front.study, "fftune.kind": "front"}
        | {"fftune.objective": front.objective, "fftune.data": result.config.base.data.name},
        metrics={
            "front/hypervolume": front.hypervolume("test"),
            "front/hypervolume_validation": front.hypervolume("validation"),
        },
        pages={"report.html": page([result]), **more},
    )
    return _how_to_see(tracking)


def _how_to_see(tracking: Tracking) -> str:
    address = save_view(tracking)
    if tracking.uri.startswith("http"):
        return f"fronts  {address}"
    return f"fronts  {address}\n        after: mlflow ui --backend-store-uri {tracking.uri}"
