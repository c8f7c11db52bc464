"""A run takes the place of older ones: nobody's is deleted, and one stands for all."""

import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import pytest

from fftune.tracking import runs as tracking
from fftune.tracking.runs import REPLACED, TrackedRun, end_stale_runs, has_run, in_place_of
from fftune.tracking.store import Tracking, open_tracking
from fftune.tracking.views import log_front

SAME = {"fftune.kind": "test"}


class Death(BaseException):
    """Nobody handles it."""


@pytest.fixture
def store(root: Path, monkeypatch) -> Tracking:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return open_tracking(root, "e")


def of(store: Tracking) -> list[tuple[str, str, bool]]:
    """Name, status, and whether it is replaced, of each run; deleted ones too."""
    runs = store.client().search_runs([store.experiment_id], run_view_type=3)
    runs.sort(key=lambda run: run.info.start_time)
    assert {run.info.lifecycle_stage for run in runs} <= {"active"}
    return [(r.info.run_name, r.info.status, REPLACED in r.data.tags) for r in runs]


def log(store: Tracking, name: str) -> None:
    with in_place_of(store, SAME):
        run = TrackedRun(store, name, tags=SAME, params={"p": name}, replaces=SAME)
        run.metrics({"m": 1.0})
        run.end()


@pytest.mark.parametrize(
    ("call", "ends"), [("begin", "KILLED"), ("metrics", "KILLED"), ("end", "FINISHED")]
)
def test_death_at_any_call_leaves_one_that_stands_for_all(store, monkeypatch, call, ends) -> None:
    replay = tracking._replay

    def dying(client, where, run, name, arguments):
        run = replay(client, where, run, name, arguments)
        if name == call:
            raise Death
        return run

    log(store, "one")
    with monkeypatch.context() as patched:
        patched.setattr(tracking, "_replay", dying)
        with pytest.raises(Death):
            log(store, "two")
    assert ("one", "FINISHED", call == "end") in of(store)  # until another is whole
    log(store, "three")
    assert of(store) == [
        ("one", "FINISHED", True),
        ("two", ends, True),
        ("three", "FINISHED", False),
    ]
    open_runs = store.client().search_runs([store.experiment_id], f"tags.`{REPLACED}` IS NULL")
    assert [run.info.run_name for run in open_runs] == ["three"]  # as the page filters


def test_two_at_once_write_one_after_the_other(store: Tracking, monkeypatch) -> None:
    """The second comes while the first is in the middle of its run."""
    inside, errors = Event(), []
    metrics = TrackedRun.metrics

    def slow(run, values, step=0):
        inside.set()
        metrics(run, values, step)

    monkeypatch.setattr(TrackedRun, "metrics", slow)

    def second() -> None:
        inside.wait(60)
        try:
            log(store, "second")
        except Exception as error:  # noqa: BLE001 - whatever it is, there is none
            errors.append(error)

    thread = Thread(target=second)
    thread.start()
    log(store, "first")
    thread.join()
    assert errors == []
    assert of(store) == [("first", "FINISHED", True), ("second", "FINISHED", False)]


def front(store: Tracking, points: list[tuple[float, float]]) -> None:
    log_front(store, "front", points, tags=SAME, metrics={"v": 1.0}, pages={"a.html": "<p>"})


def test_a_front_that_says_the_same_is_no_new_run(store: Tracking) -> None:
    front(store, [(0.1, 0.5)])
    front(store, [(0.1, 0.5)])
    assert of(store) == [("front", "FINISHED", False)]
    front(store, [(0.1, 0.4)])
    assert of(store) == [("front", "FINISHED", True), ("front", "FINISHED", False)]
    front(store, [(0.1, 0.5)])  # as the first, in whose place there is another
    assert [replaced for *_, replaced in of(store)] == [True, True, False]


def test_another_storage_on_the_same_server_is_left_alone(root: Path, monkeypatch) -> None:
    """Equal studies of two people: neither ends nor replaces the other's run."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
    mine, theirs = (open_tracking(root / name, "e") for name in ("me", "them"))
    assert mine.storage != theirs.storage == open_tracking(root / "them", "e").storage
    TrackedRun(theirs, "at work", tags=SAME, params={})
    log(theirs, "theirs")
    log(mine, "mine")
    end_stale_runs(mine, SAME, lambda _tags: False)
    assert of(mine) == [
        *(("at work", "KILLED", True), ("theirs", "FINISHED", False), ("mine", "FINISHED", False))
    ]
    TrackedRun(theirs, "again at work", tags=SAME, params={})
    log(mine, "mine")
    assert ("again at work", "RUNNING", False) in of(mine)
    assert has_run(mine, SAME) and has_run(theirs, SAME)


def test_runs_of_older_versions_are_ours(store: Tracking, root: Path) -> None:
    """They do not say whose they are."""
    TrackedRun(store, "old", tags=SAME, params={}).end()
    with closing(sqlite3.connect(root / "mlflow.db")) as database, database:
        database.execute("delete from tags where key = 'fftune.storage'")
    log(store, "new")
    assert of(store) == [("old", "FINISHED", True), ("new", "FINISHED", False)]
