"""A server that goes away costs nothing but time."""

import logging
from pathlib import Path

import mlflow
import pytest

from fftune import tracking
from fftune.errors import StorageError
from fftune.tracking import Run, Tracking, open_tracking, send_unsent

TELL = tracking._tell


@pytest.fixture
def store(root: Path, monkeypatch) -> Tracking:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return open_tracking(root, "Default")


def gone(monkeypatch, calls: set[str] | None = None) -> None:
    """Nobody answers these calls; by default none."""

    def tell(client, where, run, call, arguments):
        if calls is None or call in calls:
            raise ConnectionError("nobody there")
        return TELL(client, where, run, call, arguments)

    monkeypatch.setattr(tracking, "_tell", tell)


def told(store: Tracking):
    (run,) = mlflow.MlflowClient(store.uri).search_runs([store.experiment_id])
    return run


@pytest.mark.parametrize("since", [{"begin", "metrics", "tag", "end"}, {"metrics"}])
def test_what_the_server_missed_is_sent_later_in_order(store, monkeypatch, caplog, since) -> None:
    """Gone from the start of a run, or in its middle."""
    gone(monkeypatch, since)
    run = Run(store, "lam=1", tags={"fftune.trial": "0"}, params={"lam": 1.0})
    run.metrics({"train/loss": 0.5}, 1)
    run.flush()
    run.tag("fftune.stopped", "no")
    run.metrics({"train/loss": 0.25}, 2)
    run.end()
    assert [r.levelno for r in caplog.records] == [logging.WARNING]  # said, and said once
    (file,) = store.unsent.iterdir()
    assert str(file) in caplog.text

    gone(monkeypatch, {"tag"})  # it is back, and goes away once more on the way
    send_unsent(store)
    gone(monkeypatch, set())
    send_unsent(store)

    found = told(store)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"lam": "1.0"}
    assert found.data.tags["fftune.trial"] == "0" and found.data.tags["fftune.stopped"] == "no"
    client = mlflow.MlflowClient(store.uri)
    losses = client.get_metric_history(found.info.run_id, "train/loss")
    assert [(m.step, m.value) for m in losses] == [(1, 0.5), (2, 0.25)]
    assert list(store.unsent.iterdir()) == []


def test_a_run_that_may_still_go_on_is_left_alone(store: Tracking, monkeypatch) -> None:
    gone(monkeypatch)
    run = Run(store, "lam=1", tags={}, params={})
    gone(monkeypatch, set())
    send_unsent(store)
    assert len(list(store.unsent.iterdir())) == 1
    run.end()
    send_unsent(store)
    assert told(store).info.status == "FINISHED"


def test_what_the_server_refuses_is_no_outage(store: Tracking) -> None:
    run = Run(store, "lam=1", tags={}, params={"lam": 1})
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
