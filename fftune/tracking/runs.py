"""Runs of MLflow: written in batches, found again by their tags, closed and deleted."""

import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fftune.storage import write_text
from fftune.tracking.outbox import Outbox, kept
from fftune.tracking.store import Tracking

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

FLUSH_SECONDS = 5.0
"""Longest time for which metrics of a run wait before they are written."""


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
