"""MLflow runs: written in batches, found by their tags, closed, and replaced by newer ones."""

import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from fftune.errors import StorageError, first_words
from fftune.storage import in_turn, write_text
from fftune.tracking.outbox import Outbox, set_aside, unsent_calls, unsent_files
from fftune.tracking.store import Tracking, answering, is_outage, open_tracking

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

REPLACED = "fftune.replaced_by"
"""Tag of a run in whose place there is a newer one, and that one's id; pages leave it out."""
STORAGE = "fftune.storage"
"""Tag of the storage that wrote a run, which no other ends or replaces."""
BEGUN = "fftune.begun"
"""Tag with an id by which a run is found again that a server began without being able to say so."""
FLUSH_SECONDS = 5.0
"""Longest time for which metrics of a run wait before they are written."""


class TrackedRun:
    """One MLflow run. Metrics are written in batches; one at a time is 50 times slower.

    If the server stops answering, the run continues: its calls are kept on disk, and
    `send_outbox` replays them later.

    Args:
        replaces: tags of those older runs in whose place this one is, once it is finished; they
            stay, marked by the tag `REPLACED`.
    """

    def __init__(
        self,
        tracking: Tracking,
        name: str,
        *,
        tags: Mapping[str, str],
        params: Mapping[str, Any],
        replaces: Mapping[str, str] | None = None,
    ) -> None:
        self._replaces = dict(replaces or {})
        self._tracking = tracking
        self._client: MlflowClient | None = None  # connected where an outage is expected
        self._outbox = Outbox(tracking.unsent)
        self._waiting: list[tuple[str, float, int, int]] = []
        self._flushed = time.monotonic()
        self.id = ""
        plain = {key: str(value) for key, value in params.items()}
        mine = {**tags, BEGUN: uuid4().hex}
        if tracking.storage:
            mine[STORAGE] = tracking.storage
        began = int(time.time() * 1000)
        self._record("begin", name, mine, plain, began, tracking.experiment_id)

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
        replaces = self._replaces if status == "FINISHED" else {}
        self._record("end", status, int(time.time() * 1000), replaces)

    def _record(self, call: str, *arguments: Any) -> None:
        """Send a call to the server, or to the outbox once the server failed, to keep the order."""
        if not self._outbox:
            with answering(self._tracking.uri), _outage_caught() as outage:
                self._client = self._client or self._tracking.client()
                self.id = _replay(self._client, self._tracking, self.id, call, arguments)
            if not outage:
                return
            self._outbox.keep("run", self.id)
        self._outbox.keep(call, *arguments)


def _replay(
    client: "MlflowClient", tracking: Tracking, run: str, call: str, arguments: Sequence[Any]
) -> str:
    """Send one call of a run to the server; returns the run's id.

    Calls of older versions, in an outbox, name no experiment and replace nothing.
    """
    from mlflow.entities import Metric, Param

    match call, arguments:
        case "run", (run_id,):
            return str(run_id)
        case "begin", (name, tags, params, at, *others):
            experiment = others[0] if others else tracking.experiment_id
            if not run:
                created = client.create_run(experiment, start_time=at, run_name=name, tags=tags)
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
        case "end", (status, at, *others):
            client.set_terminated(run, status, at)
            if others and others[0]:
                _replace(client, tracking, run, others[0])
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
    outage = _Outage()
    try:
        yield outage
    except Exception as error:
        if not is_outage(error):
            raise
        outage.seen = True


def open_to_write(root: Path, experiment: str) -> Tracking:
    """Open an experiment as `open_tracking` does, and send what was kept while nobody answered."""
    tracking = open_tracking(root, experiment)
    send_outbox(tracking)
    return tracking


def send_outbox(tracking: Tracking) -> None:
    """Replay unsent calls to the server; those that fail again stay in the outbox.

    One process of a storage sends at a time, and others leave it to that one. What the server can
    never take is set aside, with a warning.
    """
    if not unsent_files(tracking.unsent):
        return
    with in_turn(tracking.unsent, wait=False) as mine:
        if not mine:
            log.info("another process sends what is kept in %s", tracking.unsent)
            return
        for path in unsent_files(tracking.unsent):
            if not _send(tracking, path):
                return


def _send(tracking: Tracking, path: Path) -> bool:
    """Replay the calls of one run; False while the server does not answer.

    The run may have been begun, by a server that failed or a sender that died before it was noted;
    it is continued then: every other call may be sent twice.
    """
    try:
        calls = unsent_calls(path)
    except (OSError, ValueError, StorageError) as error:
        set_aside(path, first_words(error))
        return True
    if not calls:
        return True
    run, sent, refused = "", 0, ""
    with _outage_caught() as outage:
        client = tracking.client()
        for call, *arguments in calls:
            if call == "begin":
                arguments[1] = {BEGUN: path.stem, **arguments[1]}  # older versions gave no id
                run = _begun_as(client, tracking, arguments[1][BEGUN])
            try:
                run = _replay(client, tracking, run, call, arguments)
            except Exception as error:
                if is_outage(error):
                    raise
                log.debug("MLflow", exc_info=True)
                refused = f"{call}: {first_words(error)}"
                if not run:
                    break
            sent += 1
    if outage:
        left = [["run", run], *calls[sent:]] if sent else calls
        write_text(path, "".join(json.dumps(call) + "\n" for call in left))
        return False
    if refused:
        set_aside(path, refused)
    else:
        path.unlink()
        log.info("sent to the MLflow server what was kept in %s", path)
    return True


def _begun_as(client: "MlflowClient", tracking: Tracking, begun: str) -> str:
    """MLflow's id of the run with an id of ours; empty: there is none."""
    found = _tagged_runs(client, tracking.experiment_id, {BEGUN: begun})
    return str(found[0].info.run_id) if found else ""


@contextmanager
def in_place_of(tracking: Tracking, same: Mapping[str, str]) -> Iterator[None]:
    """Let a block write a run that takes the place of all with these tags, one process at a time.

    Those that dead processes left open are ended first.
    """
    with in_turn(tracking.turn):
        end_stale_runs(tracking, same, lambda _tags: False)
        yield


def end_stale_runs(
    tracking: Tracking, tags: Mapping[str, str], finished: Callable[[Mapping[str, str]], bool]
) -> None:
    """Close the runs with all these tags that a dead process of this storage left open.

    Args:
        finished: tells from a run's tags if its work was complete before the process died.
    """
    with _outage_caught():
        for run in _open_runs(tracking, tags):
            status = "FINISHED" if finished(run.data.tags) else "KILLED"
            tracking.client().set_terminated(run.info.run_id, status)


def has_run(tracking: Tracking, tags: Mapping[str, str]) -> bool:
    """Is there a complete run with all these tags, in whose place is no other? False if the server
    is down.
    """
    found: list[Any] = []
    with _outage_caught():
        found = _standing(tracking, tags)
    return bool(found)


def rewrite(tracking: Tracking, tags: Mapping[str, str], texts: Mapping[str, str]) -> bool:
    """Write artifacts anew into the run that `has_run` finds; False if there is none."""
    found: list[Any] = []
    with _outage_caught():
        found, client = _standing(tracking, tags), tracking.client()
        for name, text in texts.items() if found else ():
            client.log_text(found[0].info.run_id, text, name)
    return bool(found)


def _standing(tracking: Tracking, tags: Mapping[str, str]) -> list[Any]:
    """List the complete runs with these tags, in whose place is no other."""
    found = _own_runs(tracking.client(), tracking, tracking.experiment_id, tags)
    return [r for r in found if r.info.status == "FINISHED" and REPLACED not in r.data.tags]


def left_open(tracking: Tracking, tags: Mapping[str, str]) -> bool:
    """Did a dead driver leave a run with all these tags open? False if the server is down."""
    found: Iterable[Any] = ()
    with _outage_caught():
        found = _open_runs(tracking, tags)
    return any(found)


def _open_runs(tracking: Tracking, tags: Mapping[str, str]) -> Iterable[Any]:
    found = _own_runs(tracking.client(), tracking, tracking.experiment_id, tags)
    return [run for run in found if run.info.status == "RUNNING"]


def _replace(client: "MlflowClient", tracking: Tracking, run: str, tags: Mapping[str, str]) -> None:
    """Mark all older runs with these tags, and end those that dead processes left open.

    None is deleted.
    """
    new = client.get_run(run).info
    age = (new.start_time, run)
    for old in _own_runs(client, tracking, new.experiment_id, tags):
        if (old.info.start_time, old.info.run_id) >= age or REPLACED in old.data.tags:
            continue
        client.set_tag(old.info.run_id, REPLACED, run)
        if old.info.status == "RUNNING":
            client.set_terminated(old.info.run_id, "KILLED")


def _own_runs(
    client: "MlflowClient", tracking: Tracking, experiment: str, tags: Mapping[str, str]
) -> list[Any]:
    """List the runs with these tags that this storage wrote; older ones do not say who did."""
    found = _tagged_runs(client, experiment, tags)
    return [
        run for run in found if run.data.tags.get(STORAGE, tracking.storage) == tracking.storage
    ]


def _tagged_runs(client: "MlflowClient", experiment: str, tags: Mapping[str, str]) -> list[Any]:
    """List the runs that have all these tags.

    The server filters only by values that are safe to quote (an apostrophe would end the filter's
    text, and the rest could name other runs); the other values are compared here.
    """
    plain = {name: value for name, value in tags.items() if re.fullmatch(r"[\w.+ -]*", value)}
    query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in plain.items())
    found: list[Any] = []
    page = None
    while True:
        runs = client.search_runs([experiment], query, page_token=page)
        found += [r for r in runs if all(r.data.tags.get(k) == v for k, v in tags.items())]
        page = runs.token
        if not page:
            return found
