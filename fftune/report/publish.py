"""Publication of reports: a file, MLflow, and the text for a terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fftune.config import Study
from fftune.errors import StorageError, StudyError
from fftune.invocation import command_of, typed
from fftune.report.files import keep_page
from fftune.report.result_page import ResultPage
from fftune.report.results import read_config
from fftune.report.search_page import search_page
from fftune.report.trials import publish_trials
from fftune.secrets import redacted
from fftune.storage import may_write
from fftune.sweeping.front import Front
from fftune.sweeping.study_kind import kind_of
from fftune.tracking.runs import open_to_write
from fftune.tracking.store import Tracking, answering, own_store
from fftune.tracking.views import log_front, save_view

SEARCH_PAGE = "search.html"


def publish(names: Sequence[str], root: Path) -> ResultPage:
    """Write the report of some studies of one kind, and return its page for a terminal.

    One study's report lies in its folder, a comparison in `reports/`; the course of each search
    in `search.html`. Every front becomes a run in its MLflow experiment.

    Raises:
        StudyError: a study has no front, or the studies are not comparable.
    """
    configs = {name: read_config(name, root / "studies") for name in names}
    first = configs[names[0]]
    for name, config in configs.items():
        if config.kind != first.kind:
            raise StudyError(
                f"study {name!r} is of kind {config.kind!r}, {names[0]!r} of kind "
                f"{first.kind!r}; each kind has a report of its own"
            )
    report = kind_of(first).report or publish_trials
    found = report(configs, root)
    if isinstance(found, str):  # of a kind of the user's
        return ResultPage(verb="report", blocks=tuple(found.splitlines()))
    page: ResultPage = found
    return page


def keep_search_page(config: Study, root: Path) -> tuple[dict[str, str], list[str]]:
    """Write how the search went beside the study's report.

    Returns:
        The page by its file name, and the line that says where it is; empty where the search
        cannot be read.
    """
    folder = root / "studies" / config.name
    html = search_page(config, folder)
    if html is None:
        return {}, []
    return {SEARCH_PAGE: html}, keep_page(folder / SEARCH_PAGE, html, "search")


def log_to_mlflow(config: Study, front: Front, pages: Mapping[str, str], root: Path) -> str:
    """Log the front against each risk, with its pages.

    Returns:
        A line that says where the fronts can be seen, or why they were not logged.
    """
    if own_store() and not may_write(root):
        return f"fronts  not in MLflow: storage {str(root)!r} cannot be written"
    try:
        tracking = open_to_write(root, config.experiment)
        with answering(tracking.uri):
            return _logged(tracking, config, front, pages)
    except StorageError as error:
        again = typed("report", config.name)
        return f"fronts  not in MLflow: {error}; `{again}` tries again"


def _logged(tracking: Tracking, config: Study, front: Front, pages: Mapping[str, str]) -> str:
    for risk in config.risks[1:]:
        one = front.against(risk)
        log_front(
            tracking,
            f"{front.study} front" + (f", {risk}" if len(config.risks) > 2 else ""),
            one.curve("test"),
            tags={"fftune.study": front.study, "fftune.kind": "front", "fftune.risk": risk}
            | {"fftune.objective": front.objective, "fftune.data": config.base.data.name},
            metrics={
                "front/hypervolume": one.hypervolume("test"),
                "front/hypervolume_validation": one.hypervolume("validation"),
            },
            pages=pages,
            risk=risk,
        )
    return _address(tracking)


def _address(tracking: Tracking) -> str:
    """Address of the page that compares fronts, and the command that serves it."""
    address = save_view(tracking)
    if tracking.uri.startswith("http"):
        return f"fronts  {address}"
    serve = command_of("mlflow", "ui", "--backend-store-uri", redacted(tracking.uri))
    return f"fronts  {address}\n        after: {serve}"
