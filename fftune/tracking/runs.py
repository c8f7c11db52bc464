"""MLflow runs: written in batches, found by their tags, closed and deleted."""

import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fftune.storage import write_text
from fftune.tracking.outbox import Outbox, unsent_calls
from fftune.tracking.store import Tracking

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

FLUSH_SECONDS = 5.0
"""Longest time for which metrics of a run wait before they are written."""


class TrackedRun:
    """One MLflow run. Metrics are written in batches; one at a time is 50 times slower.

    If the server stops answering, the run continues: its calls are kept on disk, and
    `send_outbox` replays them later.
    """

    def __init__(
        self, tracking: Tracking, name: str, *, tags: Mapping[str, str], params: Mapping[str, Any]
    ) -> None:
        self._tracking, self._client = tracking, tracking.client()
        self._outbox = Outbox(tracking.unsent)
        self._waiting: list[tuple[str, float, int, int]] = []
        self._flushed = time.monotonic()
        self.id = ""
        plain = {key: str(value) for key, value in params.items()}
        self._record("begin", name, dict(tags), plain, int(time.time() * 1000))

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Queue metrics of one step; they are written within `FLUSH_SECONDS`, and at the end."""
        now = int(time.time() * 1000)
        self._waiting += [(name, value, now, step) for name, value in values.items()]
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def tag(self, name: str, value: str) -> None:
        """Set a tag that was not known when the run began."""
        self._record("tag", name, value)

    def text(self, name: str, text: str) -> None:
        """Store `text` as the artifact `name`."""
        self._record("text", name, text)

    def file(self, path: Path) -> None:
        """Store a copy of a file as an artifact."""
        self._record("file", str(path))

    def flush(self) -> None:
        """Write the queued metrics, at most 1,000 per call as MLflow demands."""
        for i in range(0, len(self._waiting), 1000):
            self._record("metrics", self._waiting[i : i + 1000])
        self._waiting, self._flushed = [], time.monotonic()

    def end(self, status: str = "FINISHED") -> None:
        """Write the queued metrics and close the run as FINISHED, FAILED or KILLED."""
        self.flush()
        self._record("end", status, int(time.time() * 1000))

    def _record(self, call: str, *arguments: Any) -> None:
        """Send a call to the server, or to the outbox once the server failed, to keep the order."""
        if not self._outbox:
            with _outage_caught() as outage:
                self.id = _replay(self._client, self._tracking, self.id, call, arguments)
            if not outage:
                return
            self._outbox.keep("run", self.id)
        self._outbox.keep(call, *arguments)


def _replay(
    client: "MlflowClient", tracking: Tracking, run: str, call: str, arguments: Sequence[Any]
) -> str:
    """Send one call of a run to the server; returns the run's id."""
    from mlflow.entities import Metric, Param

    match call, arguments:
        case "run", (run_id,):
            return str(run_id)
        case "discard", (tags,):
            discard_runs(tracking, tags)
        case "begin", (name, tags, params, at):
            created = client.create_run(
                tracking.experiment_id, start_time=at, run_name=name, tags=tags
            )
            run = created.info.run_id
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


class _Outage:
    """Flag that is true once the server has failed to answer."""

    def __init__(self) -> None:
        self.seen = False

    def __bool__(self) -> bool:
        return self.seen


@contextmanager
def _outage_caught() -> Iterator[_Outage]:
    """Catch that the server does not answer, and only that: a refused call is a defect."""
    from mlflow.exceptions import MlflowException

    outage = _Outage()
    try:
        yield outage
    except MlflowException as error:
        if error.error_code not in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE"):
            raise
        outage.seen = True
    except ConnectionError:
        outage.seen = True


def send_outbox(tracking: Tracking) -> None:
    """Replay unsent calls to the server; those that fail again stay in the outbox."""
    for path, calls in unsent_calls(tracking.unsent):
        run, sent = "", 0
        with _outage_caught() as outage:
            client = tracking.client()
            for call, *arguments in calls:
                run = _replay(client, tracking, run, call, arguments)
                sent += 1
        if outage:
            left = [["run", run], *calls[sent:]] if sent else calls
            write_text(path, "".join(json.dumps(call) + "\n" for call in left))
            return
        path.unlink()
        log.info("sent to the MLflow server what was kept in %s", path)


def discard_runs(tracking: Tracking, tags: Mapping[str, str]) -> None:
    """Delete the runs that have all these tags: an earlier attempt, or an older front."""
    with _outage_caught() as outage:
        client = tracking.client()
        for run in _tagged_runs(client, tracking, tags):
            client.delete_run(run.info.run_id)
    if outage:
        Outbox(tracking.unsent).keep("discard", dict(tags))


def end_stale_runs(
    tracking: Tracking, tags: Mapping[str, str], finished: Callable[[Mapping[str, str]], bool]
) -> None:
    """Close the runs with all these tags that a dead driver left open.

    Args:
        finished: tells from a run's tags if its work was complete before the driver died.
    """
    with _outage_caught():
        for run in _open_runs(tracking, tags):
            status = "FINISHED" if finished(run.data.tags) else "KILLED"
            tracking.client().set_terminated(run.info.run_id, status)


def has_run(tracking: Tracking, tags: Mapping[str, str]) -> bool:
    """Is there a complete run with all these tags? False if the server is down."""
    found: Iterable[Any] = ()
    with _outage_caught():
        found = _tagged_runs(tracking.client(), tracking, tags)
    return any(run.info.status == "FINISHED" for run in found)


def left_open(tracking: Tracking, tags: Mapping[str, str]) -> bool:
    """Did a dead driver leave a run with all these tags open? False if the server is down."""
    found: Iterable[Any] = ()
    with _outage_caught():
        found = _open_runs(tracking, tags)
    return any(found)


def _open_runs(tracking: Tracking, tags: Mapping[str, str]) -> Iterable[Any]:
    found = _tagged_runs(tracking.client(), tracking, tags)
    return [run for run in found if run.info.status == "RUNNING"]


def _tagged_runs(client: "MlflowClient", tracking: Tracking, tags: Mapping[str, str]) -> list[Any]:
    """List the runs that have all these tags.

    The server filters only by values that are safe to quote (an apostrophe would end the filter's
    text, and the rest could name other runs); the other values are compared here.
    """
    plain = {name: value for name, value in tags.items() if re.fullmatch(r"[\w.+ -]*", value)}
    query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in plain.items())
    found: list[Any] = []
    page = None
    while True:
        runs = client.search_runs([tracking.experiment_id], query, page_token=page)
        found += [r for r in runs if all(r.data.tags.get(k) == v for k, v in tags.items())]
        page = runs.token
        if not page:
            return found
