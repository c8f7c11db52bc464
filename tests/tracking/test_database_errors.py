"""A database of MLflow's that fails in the middle of a study: an outage, and no trial's end."""

import errno
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

from fftune import recipes
from fftune.config import Study
from fftune.errors import StorageError
from fftune.sweeping.front import Front
from fftune.sweeping.study_kind import kind_of
from fftune.sweeping.sweep import sweep
from fftune.sweeping.trial_runner import TrialRunner
from fftune.tracking import outbox
from fftune.tracking.runs import TrackedRun, send_outbox
from fftune.tracking.store import open_tracking
from fftune.tracking.views import save_view

WAIT = "PRAGMA busy_timeout = "


@contextmanager
def before_statements(change: Callable[[str], str]) -> Iterator[None]:
    """Let what SQLAlchemy executes be changed, or fail."""

    def before(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> Any:
        return change(statement), values

    event.listen(Engine, "before_cursor_execute", before, retval=True)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", before)


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Somebody else writes to it, for longer than anybody waits."""
    with (
        closing(sqlite3.connect(database, isolation_level=None)) as other,
        before_statements(lambda statement: f"{WAIT}10" if WAIT in statement else statement),
    ):
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def failing(reason: str) -> Iterator[None]:
    """Its disk fails."""

    def fail(statement: str) -> str:
        if statement.startswith(("INSERT", "UPDATE")):
            raise OperationalError(statement, None, sqlite3.OperationalError(reason))
        return statement

    with before_statements(fail):
        yield


FAULTS: dict[str, Callable[[Path], Any]] = {
    "locked": locked,
    "I/O": lambda _database: failing("disk I/O error"),
    "full": lambda _database: failing("database or disk is full"),
}


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def coins() -> Study:
    path = Path(__file__).parents[1] / "sweeping/coin_kind.py"
    return recipes.find(str(path))("tiny")


@pytest.fixture
def broken() -> Iterator[ExitStack]:
    """What is entered in it ends with the test at the latest."""
    with ExitStack() as faults:
        yield faults


def finished(root: Path, config: Study) -> list[tuple[str, float]]:
    """Runs of trials that MLflow holds, with their risks."""
    tracking = open_tracking(root, config.experiment)
    found = tracking.client().search_runs([tracking.experiment_id])
    assert "RUNNING" not in {run.info.status for run in found}
    return sorted(
        (run.data.params["share"], run.data.metrics["natural_risk"])
        for run in found
        if run.data.tags["fftune.kind"] == "trial" and run.info.status == "FINISHED"
    )


def shares(front: Front) -> list[object]:
    return sorted(point.settings["share"] for point in front.results)


def break_from(monkeypatch, config: Study, trial: int, begin: Callable[[], object]) -> None:
    """Let the database fail from the middle of a trial on, until the fault ends."""
    kind = kind_of(config)

    def measure(run: Any) -> Any:
        run.begun()
        if run.trial == trial:
            begin()
        return kind.measure(run)

    replaced = kind.__class__(
        **{**{f: getattr(kind, f) for f in kind.__slots__}, "measure": measure}
    )
    monkeypatch.setattr(TrialRunner, "kind", property(lambda _self: replaced))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_study_goes_on_and_mlflow_is_told_later(
    coins: Study, root: Path, broken: ExitStack, monkeypatch, caplog, fault: str
) -> None:
    begin = partial(broken.enter_context, FAULTS[fault](root / "mlflow.db"))
    tracking = open_tracking(root, coins.experiment)
    with monkeypatch.context() as patched:
        break_from(patched, coins, 1, begin)
        front = sweep(coins, root=root, backend="inline")
    assert shares(front) == [0.1, 0.5, 0.9] and front.failures == ()
    assert "Traceback" not in caplog.text
    with pytest.raises(StorageError, match="^MLflow store 'sqlite:[^\\n]*' failed: [^\\n]+$"):
        save_view(tracking)  # `fftune report` shows the other results all the same
    broken.close()
    send_outbox(tracking)
    save_view(tracking)
    assert finished(root, coins) == [("0.1", 0.1), ("0.5", 0.5), ("0.9", 0.9)]
    assert not list(root.glob("mlflow-unsent/*"))


def test_a_disk_that_has_no_room_for_the_outbox_either_ends_the_study(
    coins: Study, root: Path, broken: ExitStack, monkeypatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(root / "mlflow-unsent"))

    begin = partial(broken.enter_context, FAULTS["full"](root))
    with monkeypatch.context() as patched:
        break_from(patched, coins, 1, begin)
        patched.setattr(outbox.Outbox, "keep", full)
        line = r"^'.*mlflow-unsent': the disk is full \(trial 1 is left to --resume\)$"
        with pytest.raises(StorageError, match=line):
            sweep(coins, root=root, backend="inline")
    broken.close()
    assert not [*root.glob("studies/coins/trials/*/failure.json")]
    front = sweep(coins, root=root, backend="inline", resume=True)
    assert shares(front) == [0.1, 0.5, 0.9] and front.failures == ()
    assert finished(root, coins) == [("0.1", 0.1), ("0.5", 0.5), ("0.9", 0.9)]


def test_a_worker_that_finds_the_database_locked_keeps_its_run(root: Path) -> None:
    """It connects for the first time, which is where SQLAlchemy's own errors come from."""
    tracking = open_tracking(root, "e")
    refused = OperationalError("SELECT", None, sqlite3.OperationalError("database is locked"))

    def connect(_self: object) -> None:
        raise refused

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(type(tracking), "client", connect)
        TrackedRun(tracking, "r", tags={"t": "1"}, params={}).end()
    send_outbox(tracking)
    (sent,) = tracking.client().search_runs([tracking.experiment_id])
    assert (sent.info.run_name, sent.info.status) == ("r", "FINISHED")
