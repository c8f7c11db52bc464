"""The store in the storage folder: made by one process at a time, and refused at once or not."""

import json
import logging
import os
import resource
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

import pytest

from fftune.errors import StorageError
from fftune.tracking import store as stores
from fftune.tracking.runs import TrackedRun
from fftune.tracking.store import open_tracking

NOBODY = 65534


@pytest.fixture(autouse=True)
def own(monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def refused(root: Path, told: str, experiment: str = "e") -> None:
    place = r"(MLflow store 'sqlite:///.*mlflow.db' .*|cannot write '.*mlflow.db')"
    with pytest.raises(StorageError, match=f"^{place}: .*{told}") as error:
        open_tracking(root, experiment)
    assert "\n" not in str(error.value) and error.value.exit_code == 2


def in_fork(work: Callable[[], None], printed: Path) -> None:
    """Do work in a forked process, whose stderr goes to a file."""
    child = os.fork()
    if not child:
        code = 1
        try:
            os.dup2(os.open(printed, os.O_WRONLY | os.O_CREAT, 0o666), 2)
            sys.stderr = os.fdopen(2, "w")
            logging.basicConfig(stream=sys.stderr, force=True)
            work()
            code = 0
        except BaseException as error:  # noqa: BLE001 - the parent shows it
            print(type(error).__name__, error, file=sys.stderr)
        finally:
            sys.stderr.flush()
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0, printed.read_text()


def test_a_lock_of_another_process_is_one_line_before_any_work(root, monkeypatch, caplog) -> None:
    monkeypatch.setattr(stores, "LOCKED_SECONDS", 0.2)
    with closing(sqlite3.connect(root / "mlflow.db", isolation_level=None)) as other:
        for lock in ("EXCLUSIVE", "IMMEDIATE"):
            other.execute(f"BEGIN {lock}")
            refused(root, "database is locked")
            other.execute("ROLLBACK")
    open_tracking(root, "e")
    assert not caplog.records


def test_a_folder_in_its_place_is_one_line_at_once(tmp_path: Path, monkeypatch, caplog) -> None:
    (tmp_path / "mlflow.db").mkdir()
    monkeypatch.setattr(stores, "_open_experiment", None)  # MLflow is not asked: it would insist
    refused(tmp_path, "directory")
    assert not caplog.records


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_cannot_be_written_is_one_line(empty_mlflow: Path, tmp_path: Path, what: str) -> None:
    with TemporaryDirectory() as name:  # where anybody may look
        root, printed = Path(name), tmp_path / "stderr"
        shutil.copy(empty_mlflow, root)
        root.chmod(0o777 if what == "file" else 0o755)
        (root / "mlflow.db").chmod(0o444 if what == "file" else 0o666)

        def as_nobody() -> None:
            os.seteuid(NOBODY)
            refused(root, "ermission denied")

        in_fork(as_nobody, printed)
        assert printed.read_text() == ""


def test_a_disk_that_fills_up_is_one_line_a_run_and_no_trace(root: Path, tmp_path_factory) -> None:
    """The database cannot grow; what it misses is kept, as when a server is away."""
    tracking = open_tracking(root, "e")
    printed = tmp_path_factory.mktemp("printed") / "stderr"

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
        run = TrackedRun(tracking, "r", tags={}, params={"p": 1})
        run.metrics({"m": 1.0})
        run.flush()
        run.end()
        refused(root, "(disk|full)", experiment="another")

    in_fork(full, printed)
    (line,) = printed.read_text().splitlines()
    assert "the MLflow server does not answer; going on, and keeping its runs in" in line
    (kept,) = tracking.unsent.glob("*.jsonl")
    calls = [json.loads(call)[0] for call in kept.read_text().splitlines()]
    assert calls == ["run", "begin", "metrics", "end"]


def test_a_new_store_is_made_by_one_process_at_a_time(tmp_path: Path, monkeypatch) -> None:
    """Tables made twice at once were tracebacks. The slow tests begin real studies at once."""
    at_work, found, second = [], [], Event()

    def make(uri: str, experiment: str, artifacts: str | None) -> str:
        at_work.append(experiment)
        assert len(at_work) == 1
        if experiment == "first":
            thread.start()
            assert not second.wait(0.2)  # it waits for its turn
        at_work.remove(experiment)
        return "1"

    def begin_second() -> None:
        found.append(open_tracking(tmp_path, "second"))
        second.set()

    monkeypatch.setattr(stores, "_open_experiment", make)
    monkeypatch.setattr(stores, "_follow", lambda *_: None)
    thread = Thread(target=begin_second)
    found.append(open_tracking(tmp_path, "first"))
    thread.join()
    assert second.is_set() and found[0].storage == found[1].storage != ""
