"""Put a report where people look: a file, MLflow, and the terminal."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from fftune.config import HedgeSweep, Study
from fftune.errors import StorageError, StudyError
from fftune.hedge_study.page import hedge_page
from fftune.hedge_study.summary import hedge_caveats, hedge_headlines, hedge_table, read_hedges
from fftune.report.gaps import gaps
from fftune.report.page import page
from fftune.report.results import read_config, read_results
from fftune.report.search_page import history
from fftune.report.sentences import caveats, headlines
from fftune.report.tables import hypervolumes, table
from fftune.storage import write_text
from fftune.sweeping.front import Front
from fftune.tracking.runs import send_outbox
from fftune.tracking.store import Tracking, open_tracking
from fftune.tracking.views import log_front, save_view


def publish(names: Sequence[str], root: Path) -> str:
    """Write the report of some studies; what a terminal should say of it.

    One study's report lies in its folder, a comparison in `reports/`; how each search went, in
    `search.html`. Every front becomes a run in its MLflow experiment, and the page that compares
    them gets its address.

    Raises:
        StudyError: a study has no front, or the studies are not comparable.
    """
    kinds = {name: read_config(name, root / "studies") for name in names}
    if hedged := {n: c for n, c in kinds.items() if isinstance(c, HedgeSweep)}:
        return _publish_hedges(hedged, kinds, root)
    results = read_results(names, root)
    place = root / "studies" / names[0] / "report.html"
    if len(names) > 1:
        place = root / "reports" / f"{'+'.join(names)}.html"
    between = gaps(results)
    write_text(place, page(results, between))
    views = dict.fromkeys(
        _to_mlflow(
            result.config,
            result.front,
            {"report.html": page([result]), **_history(result.config, root)},
            root,
        )
        for result in results
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


def _history(config: Study, root: Path) -> dict[str, str]:
    """How the search went, put beside the study's report; nothing where that is not known."""
    folder = root / "studies" / config.name
    html = history(config, folder)
    if html is None:
        return {}
    write_text(folder / SEARCH, html)
    return {SEARCH: html}


def _publish_hedges(hedged: Mapping[str, HedgeSweep], kinds: Collection[str], root: Path) -> str:
    """A page a study: what a hedge is worth is told of one net at a time.

    Raises:
        StudyError: a study of another kind was named beside them.
    """
    if others := [name for name in kinds if name not in hedged]:
        raise StudyError(
            f"study {others[0]!r} is no hedge sweep; hedges have a report of their own"
        )
    told = []
    for name, config in hedged.items():
        result = read_hedges(config, root / "studies" / name)
        place, text = root / "studies" / name / "report.html", hedge_page(result)
        write_text(place, text)
        more = _history(config, root)
        told += [
            hedge_table(result).to_string(index=False),
            "",
            *hedge_caveats(result),
            "",
            f"report  {place}",
            *(f"search  {place.with_name(file)}" for file in more),
            _to_mlflow(config, result.front, {"report.html": text, **more}, root),
            "",
            *hedge_headlines(result),
        ]
    return "\n".join(told)


def _to_mlflow(config: Study, front: Front, pages: Mapping[str, str], root: Path) -> str:
    """Log the front against each risk, with its pages; how to see it, or why not."""
    try:
        tracking = open_tracking(root, config.experiment)
    except StorageError as error:
        return f"fronts  not in MLflow: {error}; fftune report {config.name} tries again"
    send_outbox(tracking)
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
    return _how_to_see(tracking)


def _how_to_see(tracking: Tracking) -> str:
    address = save_view(tracking)
    if tracking.uri.startswith("http"):
        return f"fronts  {address}"
    return f"fronts  {address}\n        after: mlflow ui --backend-store-uri {tracking.uri}"
