"""A training run in MLflow, and what becomes of it when its driver dies."""

from pathlib import Path

import mlflow
import pytest

from fftune.config import Resources
from fftune.errors import StorageError
from fftune.tracking import runs
from fftune.tracking.runs import REPLACED, TrackedRun
from fftune.training.checkpoint import Checkpoint
from fftune.training.tracked import train_tracked
from tests.training.tinies import tiny


class Death(BaseException):
    """Nobody handles it."""


def record(root: Path) -> None:
    train_tracked(tiny(), name="a", root=root, resources=Resources(), resume=False)


def kept(root: Path) -> tuple[str, dict[str, str], dict[str, float]]:
    """How the run that stands for all ended, what it is marked with, and its last metrics."""
    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("train-digits")
    (run,) = client.search_runs([experiment.experiment_id], f"tags.`{REPLACED}` IS NULL")
    tags = {name: run.data.tags[name] for name in run.data.tags if name.startswith("fftune.")}
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["history.parquet"]
    measured = {k: v for k, v in run.data.metrics.items() if "second" not in k}
    return run.info.status, tags, measured


def test_a_run_that_ended_but_was_never_closed_is_told_whole(root: Path, monkeypatch) -> None:
    def die(*_args: object) -> None:
        raise Death

    with monkeypatch.context() as patched:
        patched.setattr(TrackedRun, "file", die)
        for _ in range(2):  # and once more while it is told again
            with pytest.raises(Death):
                record(root)
    record(root)
    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("train-digits")
    ends = [run.info.status for run in client.search_runs([experiment.experiment_id])]
    assert sorted(ends) == ["FINISHED", "KILLED", "KILLED"]
    status, tags, metrics = kept(root)
    assert status == "FINISHED"
    assert tags.keys() == {
        f"fftune.{n}" for n in ("run", "kind", "storage", "begun", "stopped", "data_hash")
    }
    each = ("loss", "accuracy", "lr", "data_wait", "validation_accuracy")
    assert metrics.keys() == {f"train/{name}" for name in each}


def test_a_disk_that_fails_when_the_net_has_its_name_costs_no_run(root: Path, monkeypatch) -> None:
    """Only the folder is not on disk yet: training has ended, and MLflow is told so."""
    save = Checkpoint.save

    def fail(checkpoint: Checkpoint, folder: Path) -> None:
        save(checkpoint, folder)
        if folder.name == "checkpoint":
            raise StorageError("cannot write 'model.json': Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "save", fail)
        with pytest.raises(StorageError):
            record(root)
    record(root)
    assert kept(root)[0] == "FINISHED"


def test_a_run_that_is_whole_is_told_once(root: Path, monkeypatch) -> None:
    record(root)
    before = kept(root)
    with monkeypatch.context() as patched:
        patched.setattr(TrackedRun, "__init__", None)
        record(root)
    assert kept(root) == before


def test_a_run_that_ended_while_mlflow_was_away_is_told_by_the_same_command(
    root: Path, monkeypatch
) -> None:
    def away(*_args: object) -> str:
        raise ConnectionError("nobody there")

    with monkeypatch.context() as patched:
        patched.setattr(runs, "_replay", away)
        record(root)
    record(root)
    status, tags, _ = kept(root)
    assert (status, tags["fftune.run"]) == ("FINISHED", "a")
