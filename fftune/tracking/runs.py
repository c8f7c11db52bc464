"""The door to MLflow: a run per trial, a run per front, and a page that compares fronts."""

import contextlib
import json
import logging
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from fftune.errors import StorageError
from fftune.storage import write_text
from fftune.tracking.outbox import Outbox, kept

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow reads these when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
# stdout carries results; with a server it would carry a line a run as well.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

# Seven attempts, its default, take four minutes in which a trial stands still.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")

log = logging.getLogger(__name__)

FLUSH_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """Which MLflow experiment to write to; plain values that travel to any worker."""

    uri: str
    experiment_id: str
    unsent: Path
    """Where is kept what the store missed."""

    def client(self) -> "MlflowClient":
        """A client of this store."""
        from mlflow import MlflowClient

        return MlflowClient(self.uri)


def open_tracking(root: Path, experiment: str) -> Tracking:
    """The experiment, made if need be. The driver does this once, before any worker writes.

    The store is `MLFLOW_TRACKING_URI`, or a sqlite file in `root`: four processes that open
    one fresh sqlite database at once fail, as each tries to create its tables. An experiment in
    MLflow's bin is taken out of it, and artifacts of a storage that was moved are sought where it
    is now; both are said.

    Raises:
        StorageError: the store does not answer, is damaged, or is another MLflow's.
    """
    named = os.environ.get("MLFLOW_TRACKING_URI")
    uri = named or f"sqlite:///{root / 'mlflow.db'}"
    place = None if named else (root / "mlflow").as_uri()
    try:
        number = _opened(uri, experiment, place)
    except Exception as error:  # damaged stores fail by the errors of a dozen libraries
        log.debug("MLflow", exc_info=True)
        cause = _first_cause(error)
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        told = f"MLflow store {uri!r} does not answer: {reason}"
        raise StorageError(re.sub(r"//([^:/@\s]*):[^@/\s]*@", r"//\1:***@", told)) from None
    return Tracking(uri=uri, experiment_id=number, unsent=root / "mlflow-unsent")


def _opened(uri: str, experiment: str, place: str | None) -> str:
    """The id of an experiment that can be written, made if need be.

    Args:
        place: where artifacts of our own store are.
    """
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return str(client.create_experiment(experiment, place))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
        log.warning("MLflow's experiment %r was in its bin and is restored", experiment)
    if place is not None and _moved(found.artifact_location, place):
        _follow(uri, found.artifact_location, place)
        log.warning("this storage was moved: MLflow's artifacts are now sought in %s", place)
    return str(found.experiment_id)


def _moved(was: str, place: str) -> bool:
    """Whether artifacts are sought in the `mlflow` of a folder that is another one now."""
    if was.rstrip("/") == place.rstrip("/") or not was.startswith("file:"):
        return False
    old, new = (Path(unquote(urlsplit(url).path)) for url in (was, place))
    return old.name == new.name and not (old.exists() and new.exists() and old.samefile(new))


def _follow(uri: str, was: str, place: str) -> None:
    """Let a store's experiments and runs name the new place; MLflow itself has no call for it."""
    path = uri.removeprefix("sqlite:///")
    changes = (("experiments", "artifact_location"), ("runs", "artifact_uri"))
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as database, database:
        for table, column in changes:
            database.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608
                f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (place, len(was) + 1, was, len(was) + 1, f"{was}/"),
            )


def _first_cause(error: BaseException) -> BaseException:
    """What began a chain of errors, as in "[Errno 111] Connection refused"."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error


class TrackedRun:
    """One MLflow run. Metrics are gathered and written in batches: one at a time is 50x slower.

    Where the server goes away, the run goes on: what it says is kept on disk, and `send_outbox`
    sends it later.
    """

    def __init__(
        self, tracking: Tracking, name: str, *, tags: Mapping[str, str], params: Mapping[str, Any]
    ) -> None:
        self._tracking, self._client = tracking, tracking.client()
        self._unsent = Outbox(tracking.unsent)
        self._waiting: list[tuple[str, float, int, int]] = []
        self._flushed = time.monotonic()
        self.id = ""
        plain = {key: str(value) for key, value in params.items()}
        self._say("begin", name, dict(tags), plain, int(time.time() * 1000))

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Remember metrics of one step; they are written within seconds, and at the end."""
        now = int(time.time() * 1000)
        self._waiting += [(name, value, now, step) for name, value in values.items()]
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def tag(self, name: str, value: str) -> None:
        """Say something about the run that was not known at its start."""
        self._say("tag", name, value)

    def text(self, name: str, text: str) -> None:
        """Keep `text` as the artifact `name`."""
        self._say("text", name, text)

    def file(self, path: Path) -> None:
        """Keep a copy of a file as an artifact."""
        self._say("file", str(path))

    def flush(self) -> None:
        """Write what is waiting, at most 1,000 metrics a call as MLflow demands."""
        for i in range(0, len(self._waiting), 1000):
            self._say("metrics", self._waiting[i : i + 1000])
        self._waiting, self._flushed = [], time.monotonic()

    def end(self, status: str = "FINISHED") -> None:
        """Write what is waiting and close the run: FINISHED, FAILED or KILLED."""
        self.flush()
        self._say("end", status, int(time.time() * 1000))

    def _say(self, call: str, *arguments: Any) -> None:
        """To the server; or, once it was gone, to a file, so that nothing overtakes."""
        if not self._unsent:
            with _reachable() as there:
                self.id = _tell(self._client, self._tracking, self.id, call, arguments)
            if there:
                return
            self._unsent.keep("run", self.id)
        self._unsent.keep(call, *arguments)


def _tell(
    client: "MlflowClient", tracking: Tracking, run: str, call: str, arguments: Sequence[Any]
) -> str:
    """One call of a run; the run's id."""
    from mlflow.entities import Metric, Param

    match call, arguments:
        case "run", (known,):
            return str(known)
        case "discard", (tags,):
            discard_runs(tracking, tags)
        case "begin", (name, tags, params, at):
            where = tracking.experiment_id
            run = client.create_run(where, start_time=at, run_name=name, tags=tags).info.run_id
            client.log_batch(run, params=[Param(k, v) for k, v in params.items()])
        case "metrics", (values,):
            client.log_batch(run, metrics=[Metric(*value) for value in values])
        case "tag", (name, value):
            client.set_tag(run, name, value)
        case "text", (name, text):
            client.log_text(run, text, name)
        case "file", (path,):
            client.log_artifact(run, path)
        case "end", (status, at):
            client.set_terminated(run, status, at)
    return run


class _There:
    """Whether the server answered; true until the block has failed."""

    def __init__(self) -> None:
        self.answer = True

    def __bool__(self) -> bool:
        return self.answer


@contextmanager
def _reachable() -> Iterator[_There]:
    """Swallow that a server does not answer, and only that: what it refuses is a defect."""
    from mlflow.exceptions import MlflowException

    there = _There()
    try:
        yield there
    except MlflowException as error:
        if error.error_code not in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE"):
            raise
        there.answer = False
    except ConnectionError:
        there.answer = False


def send_outbox(tracking: Tracking) -> None:
    """Tell the server what it missed; what it misses again is kept."""
    for path, calls in kept(tracking.unsent):
        run, told = "", 0
        with _reachable() as there:
            client = tracking.client()
            for call, *arguments in calls:
                run = _tell(client, tracking, run, call, arguments)
                told += 1
        if not there:
            left = [["run", run], *calls[told:]] if told else calls
            write_text(path, "".join(json.dumps(call) + "\n" for call in left))
            return
        path.unlink()
        log.info("MLflow has now what was kept in %s", path)


def discard_runs(tracking: Tracking, tags: Mapping[str, str]) -> None:
    """Delete the runs that carry all these tags: an earlier attempt, or an older front."""
    with _reachable() as there:
        client = tracking.client()
        for run in _carrying(client, tracking, tags):
            client.delete_run(run.info.run_id)
    if not there:
        Outbox(tracking.unsent).keep("discard", dict(tags))


def end_stale_runs(
    tracking: Tracking, tags: Mapping[str, str], finished: Callable[[Mapping[str, str]], bool]
) -> None:
    """Close what a dead driver left open among the runs that carry all these tags.

    Args:
        finished: from a run's tags, whether its work was complete before the driver died.
    """
    with _reachable():
        for run in _open_runs(tracking, tags):
            status = "FINISHED" if finished(run.data.tags) else "KILLED"
            tracking.client().set_terminated(run.info.run_id, status)


def left_open(tracking: Tracking, tags: Mapping[str, str]) -> bool:
    """Whether a dead driver left a run open that carries all these tags; not, if nobody answers."""
    found: Iterable[Any] = ()
    with _reachable():
        found = _open_runs(tracking, tags)
    return any(found)


def _open_runs(tracking: Tracking, tags: Mapping[str, str]) -> Iterable[Any]:
    found = _carrying(tracking.client(), tracking, tags)
    return [run for run in found if run.info.status == "RUNNING"]


def _carrying(client: "MlflowClient", tracking: Tracking, tags: Mapping[str, str]) -> list[Any]:
    """The runs that carry all these tags.

    The store is asked by those values alone that no filter takes for anything else: an
    apostrophe would end the filter's text, and what followed it could name other runs.
    """
    plain = {name: value for name, value in tags.items() if re.fullmatch(r"[\w.+ -]*", value)}
    asked = " and ".join(f"tags.`{name}` = '{value}'" for name, value in plain.items())
    found: list[Any] = []
    page = None
    while True:
        runs = client.search_runs([tracking.experiment_id], asked, page_token=page)
        found += [r for r in runs if all(r.data.tags.get(k) == v for k, v in tags.items())]
        page = runs.token
        if not page:
            return found


def log_front(
    tracking: Tracking,
    name: str,
    points: Sequence[tuple[float, float]],
    *,
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
    pages: Mapping[str, str],
    risk: str = "hypocritical_risk",
) -> None:
    """A run whose *steps* are the front's points, so that MLflow draws it as a curve.

    Args:
        points: (natural risk, the other), sorted by the first.
        risk: the name of the other.
        metrics: numbers about the front as a whole.
        pages: HTML to keep with it, by file name.
    """
    discard_runs(tracking, tags)
    run = TrackedRun(tracking, name, tags=tags, params={})
    for step, (natural, other) in enumerate(points):
        run.metrics({"front/natural_risk": natural, f"front/{risk}": other}, step)
    run.metrics(metrics)
    for file, html in pages.items():
        run.text(file, html)
    run.end()


VIEW = "fftune"
"""The name under which the comparison is saved in each experiment."""


def save_view(tracking: Tracking) -> str:
    """Save the page that compares fronts in the experiment; its address in MLflow's own pages.

    Uses MLflow's tag for shared views (3.15 and later). The format is MLflow's own business,
    so its minor version is pinned.
    """
    now = int(time.time() * 1000)
    view = {"name": VIEW, "createdAt": now, "updatedAt": now, "state": _view_state()}
    client = tracking.client()
    client.set_experiment_tag(
        tracking.experiment_id, f"mlflow.sharedViewState.{VIEW}", json.dumps(view)
    )
    base = tracking.uri if tracking.uri.startswith("http") else "http://127.0.0.1:5000"
    return (
        f"{base}/#/experiments/{tracking.experiment_id}/runs?viewStateShareKey={VIEW}"
        "&compareRunsMode=CHART&workflowType=machine_learning"
    )


def _view_state() -> str:
    """MLflow's record of a page with four charts: points, fronts, lambda and hypervolume."""
    risks = ("natural_risk", "hypocritical_risk")
    charts = [
        _chart("points", "SCATTER", xaxis=_axis(risks[0]), yaxis=_axis(risks[1])),
        _chart(
            "fronts",
            "LINE",
            metricKey=f"front/{risks[1]}",
            selectedMetricKeys=[f"front/{risks[1]}"],
            xAxisKey="metric",
            selectedXAxisMetricKey=f"front/{risks[0]}",
            yAxisKey="metric",
            yAxisExpressions=[],
            xAxisScaleType="linear",
            scaleType="linear",
            range={},
            lineSmoothness=0,
            useGlobalXaxisKey=False,
            useGlobalLineSmoothing=False,
            ignoreOutliers=False,
            displayPoints=True,
        ),
        _chart(
            "lambda", "PARALLEL", selectedParams=["lam"], selectedMetrics=risks, showAllRuns=False
        ),
        _chart(
            "volume",
            "BAR",
            metricKey="front/hypervolume",
            dataAccessKey="front/hypervolume",
        ),
    ]
    section = {
        "uuid": VIEW,
        "name": "Pareto fronts",
        "display": True,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
        "columns": 2,
        "cardHeight": 430,
    }
    state = {
        "searchFilter": "",
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": ["params.`lam`", *(f"metrics.`{risk}`" for risk in risks)],
        "columnOrder": [],
        "columnWidths": {},
        "runsHidden": [],
        "runsHiddenMode": "SHOWALL",
        "viewMaximized": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "runsExpanded": {},
        "runsPinned": [],
        "autoRefreshEnabled": False,
        "globalLineChartConfig": {
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
        },
        "compareRunCharts": charts,
        "compareRunSections": [section],
        "isAccordionReordered": True,
        "runListHidden": True,
    }
    return json.dumps(state)


def _chart(uuid: str, kind: str, **settings: object) -> dict[str, object]:
    return {
        "uuid": uuid,
        "type": kind,
        "runsCountToCompare": 100,
        "metricSectionId": VIEW,
        "deleted": False,
        "isGenerated": False,
        **settings,
    }


def _axis(metric: str) -> dict[str, str]:
    return {"key": metric, "type": "METRIC", "dataAccessKey": metric}
