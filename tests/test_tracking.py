"""An MLflow server that goes away costs nothing but time."""

import contextlib
import logging
import os
import shutil
import sqlite3
from pathlib import Path

import mlflow
import pytest

from fftune.errors import StorageError
from fftune.tracking import runs as tracking
from fftune.tracking.runs import (
    REPLACED,
    TrackedRun,
    end_stale_runs,
    left_open,
    send_outbox,
)
from fftune.tracking.store import Tracking, open_tracking

REPLAY = tracking._replay


@pytest.fixture
def store(root: Path, monkeypatch) -> Tracking:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return open_tracking(root, "Default")


def gone(monkeypatch, calls: set[str] | None = None) -> None:
    """Nobody answers these calls; by default none."""

    def replay(client, where, run, call, arguments):
        if calls is None or call in calls:
            raise ConnectionError("nobody there")
        return REPLAY(client, where, run, call, arguments)

    monkeypatch.setattr(tracking, "_replay", replay)


def only_run(store: Tracking):
    (run,) = mlflow.MlflowClient(store.uri).search_runs([store.experiment_id])
    return run


@pytest.mark.parametrize("since", [{"begin", "metrics", "tag", "end"}, {"metrics"}])
def test_what_the_server_missed_is_sent_later_in_order(store, monkeypatch, caplog, since) -> None:
    """Gone from the start of a run, or in its middle."""
    gone(monkeypatch, since)
    run = TrackedRun(store, "lam=1", tags={"fftune.trial": "0"}, params={"lam": 1.0})
    run.metrics({"train/loss": 0.5}, 1)
    run.flush()
    run.tag("fftune.stopped", "no")
    run.metrics({"train/loss": 0.25}, 2)
    run.end()
    assert [r.levelno for r in caplog.records] == [logging.WARNING]  # said, and said once
    (file,) = store.unsent.iterdir()
    assert str(file) in caplog.text

    gone(monkeypatch, {"tag"})  # it is back, and goes away once more on the way
    send_outbox(store)
    gone(monkeypatch, set())
    send_outbox(store)

    found = only_run(store)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"lam": "1.0"}
    assert found.data.tags["fftune.trial"] == "0" and found.data.tags["fftune.stopped"] == "no"
    client = mlflow.MlflowClient(store.uri)
    losses = client.get_metric_history(found.info.run_id, "train/loss")
    assert [(m.step, m.value) for m in losses] == [(1, 0.5), (2, 0.25)]
    assert list(store.unsent.iterdir()) == []


@pytest.mark.parametrize("step", ["create_run", "log_batch"])
def test_a_run_that_was_begun_by_a_server_that_failed_is_continued(
    store, monkeypatch, step
) -> None:
    """It had committed, and could not say so; or failed one call later."""
    original = getattr(mlflow.MlflowClient, step)

    def failing(self, *arguments, **named):
        if step == "create_run":
            original(self, *arguments, **named)
        raise mlflow.exceptions.MlflowException("disk I/O error")

    with monkeypatch.context() as failed:
        failed.setattr(mlflow.MlflowClient, step, failing)
        run = TrackedRun(store, "lam=1", tags={"fftune.trial": "0"}, params={"lam": 1.0})
    run.end()
    assert only_run(store).info.status == "RUNNING"
    send_outbox(store)
    assert only_run(store).info.status == "FINISHED"
    assert only_run(store).data.params == {"lam": "1.0"}


def test_a_run_that_may_still_go_on_is_left_alone(store: Tracking, monkeypatch) -> None:
    gone(monkeypatch)
    run = TrackedRun(store, "lam=1", tags={}, params={})
    gone(monkeypatch, set())
    send_outbox(store)
    assert len(list(store.unsent.iterdir())) == 1
    run.end()
    send_outbox(store)
    assert only_run(store).info.status == "FINISHED"


def test_what_the_server_refuses_is_no_outage(store: Tracking) -> None:
    run = TrackedRun(store, "lam=1", tags={}, params={"lam": 1})
    with pytest.raises(mlflow.exceptions.MlflowException):
        run.tag("a/../b", "x" * 10_000_000)
    assert not store.unsent.exists()


def test_a_server_that_is_down_at_the_start_is_one_line(root: Path, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(
        StorageError,
        match=r"^MLflow store 'http://127.0.0.1:1' does not answer: .*Connection refused$",
    ):
        open_tracking(root, "Default")


def sql(root: Path, text: str) -> None:
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as database, database:
        database.execute(text)


@pytest.mark.parametrize("name", ["bob's", 'a "b"', "x' OR tags.`a` = '", "back`tick", "50 %_"])
def test_names_with_apostrophes_find_their_own_runs_alone(store: Tracking, name: str) -> None:
    for tag in (name, "other"):
        TrackedRun(store, tag, tags={"a": tag, "kind": "k"}, params={}).end()
    tags = {"a": name, "kind": "k"}
    TrackedRun(store, name, tags=tags, params={}, replaces=tags).end()
    found = mlflow.MlflowClient(store.uri).search_runs([store.experiment_id])
    assert [r.data.tags["a"] for r in found if REPLACED in r.data.tags] == [name]
    TrackedRun(store, name, tags=tags, params={})
    assert left_open(store, {"a": name}) and not left_open(store, {"a": "other"})
    end_stale_runs(store, {"a": name}, lambda tags: tags["a"] == name)
    assert not left_open(store, {"a": name})


def test_a_deleted_experiment_is_restored_with_a_warning(
    root: Path, store: Tracking, caplog
) -> None:
    made = open_tracking(root, "it's mine")
    mlflow.MlflowClient(made.uri).delete_experiment(made.experiment_id)
    again = open_tracking(root, "it's mine")
    assert again == made and '"it\'s mine" was deleted and is restored' in caplog.text
    TrackedRun(again, "r", tags={}, params={}).end()
    caplog.clear()
    open_tracking(root, "it's mine")
    assert not caplog.records


def test_a_storage_that_was_moved_keeps_its_artifacts_where_it_is_now(
    root: Path, store: Tracking, caplog
) -> None:
    before, after = root / "before it's", root / "after"
    before.mkdir()
    shutil.copy(root / "mlflow.db", before)
    first = TrackedRun(open_tracking(before, "e"), "first", tags={}, params={})
    first.text("a.txt", "one")
    first.end()
    before.rename(after)
    moved = open_tracking(after, "e")
    assert f"artifacts are now read from {(after / 'mlflow').as_uri()}" in caplog.text
    second = TrackedRun(moved, "second", tags={}, params={})
    second.text("b.txt", "two")
    second.end()
    assert not before.exists()
    client = mlflow.MlflowClient(moved.uri)
    files = {r.info.run_name: client.list_artifacts(r.info.run_id)[0].path
             for r in client.search_runs([moved.experiment_id])}  # fmt: skip
    assert files == {"first": "a.txt", "second": "b.txt"}
    caplog.clear()
    assert open_tracking(after, "e") == moved
    (root / "link").symlink_to(after)
    open_tracking(root / "link", "e")  # the same folder by another name
    assert not caplog.records


@pytest.mark.parametrize("revision", ["bd07f7e963c5", "ffffffffffff"])
def test_a_store_of_another_mlflow_is_one_line(root: Path, store: Tracking, revision: str) -> None:
    sql(root, f"update alembic_version set version_num = '{revision}'")
    (root / "other").mkdir()
    shutil.copy(root / "mlflow.db", root / "other")
    one_line(root / "other")


@pytest.mark.parametrize("content", [b"x" * 5000, b"SQLite format 3\0" + b"\0" * 5000])
def test_a_damaged_store_is_one_line(tmp_path: Path, monkeypatch, content: bytes) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlflow.db").write_bytes(content)
    one_line(tmp_path)


@pytest.mark.parametrize("uri", ["nosuch://x", "http://anna:secret@127.0.0.1:1"])
def test_a_store_that_cannot_be_is_one_line(tmp_path: Path, monkeypatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert "secret" not in one_line(tmp_path)


def test_a_process_killed_while_it_made_the_tables_leaves_none(
    tmp_path: Path, empty_mlflow: Path, monkeypatch
) -> None:
    """Half of them would be refused for ever."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def half(engine) -> None:
        with engine.begin() as database:
            database.exec_driver_sql("CREATE TABLE experiments (half TEXT)")
        os._exit(9)

    def all_of_them(engine) -> None:
        shutil.copy(empty_mlflow, engine.url.database)

    monkeypatch.setattr("mlflow.store.db.utils._initialize_tables", half)
    child = os.fork()
    if not child:
        open_tracking(tmp_path, "e")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert (tmp_path / ".mlflow.db.part").stat().st_size and not (tmp_path / "mlflow.db").exists()
    monkeypatch.setattr("mlflow.store.db.utils._initialize_tables", all_of_them)
    assert open_tracking(tmp_path, "e") == open_tracking(tmp_path, "e")
    assert {path.name for path in tmp_path.iterdir() if "db" in path.name} <= {
        *("mlflow.db", ".mlflow.db.lock"),
    }


def one_line(root: Path) -> str:
    with pytest.raises(StorageError, match="^MLflow store .* does not answer: .") as error:
        open_tracking(root, "e")
    assert "\n" not in str(error.value)
    return str(error.value)
