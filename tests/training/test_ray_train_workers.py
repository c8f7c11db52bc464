"""What `fftune.train` gives to Ray, and what its workers say; no Ray is started here."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ray.train import TrainingFailedError, WorkerGroupError

from fftune import ray_cluster as cluster
from fftune.cli import train as cli
from fftune.cli.options import run
from fftune.config import Resources
from fftune.errors import DataError, DivergedError, FftuneError, ModelError, StorageError
from fftune.metrics import Metrics
from fftune.sweeping.sweep import sweep
from fftune.training import ray_train as on_ray
from fftune.training.distributed import ProcessGroup
from fftune.training.last_words import leave
from fftune.training.tracked import train_tracked
from fftune.training.train import train
from tests.training.tinies import tiny

ALONE = tiny("standard", epochs=1)


@pytest.fixture
def given_to_ray(monkeypatch) -> list[dict[str, Any]]:
    """What `train_on_ray` is called with; it then trains here."""
    given: list[dict[str, Any]] = []

    @contextmanager
    def connected(resources: Resources) -> Iterator[None]:
        given.append({"address": resources.address})
        yield

    def trained(config, **settings):
        given[-1] |= {"workers": config.workers, "gpus": settings["gpus"]}
        checkpoint = train(replace(config, workers=1), folder=settings["folder"])
        settings["on_history"](checkpoint.history)
        return checkpoint

    monkeypatch.setattr(cluster, "cluster", connected)
    monkeypatch.setattr(cluster, "require_shared_dir", lambda _folder: None)
    monkeypatch.setattr(on_ray, "train_on_ray", trained)
    return given


@pytest.mark.parametrize(
    ("workers", "resources", "expected"),
    [
        (1, Resources(), []),
        (1, Resources(gpus=0.5), [{"address": None, "workers": 1, "gpus": 0.5}]),
        (1, Resources(address="a:1"), [{"address": "a:1", "workers": 1, "gpus": 0.0}]),
        (2, Resources(), [{"address": None, "workers": 2, "gpus": 0.0}]),
    ],
)
def test_who_asks_for_gpus_a_cluster_or_workers_trains_on_ray(
    root: Path, monkeypatch, given_to_ray, workers, resources, expected
) -> None:
    """A job's own address, in RAY_ADDRESS, asks for nothing."""
    monkeypatch.setenv("RAY_ADDRESS", "10.9.9.9:1")
    config = replace(ALONE, workers=workers)
    checkpoint, _ = train_tracked(config, name="r", root=root, resources=resources, resume=False)
    assert given_to_ray == expected
    assert len(checkpoint.history) == 1


def test_a_trial_of_one_worker_has_its_gpus_already(quick, root: Path, given_to_ray) -> None:
    """It is a process that Ray gave them to."""
    one = replace(quick, trials=1, battery=replace(quick.battery, examples=10))
    front = sweep(one, root=root, backend="inline", resources=Resources(gpus=1.0))
    assert len(front.results) == 1
    assert given_to_ray == []


def test_a_cluster_that_does_not_answer_is_one_line(root: Path, capsys) -> None:
    words = f"standard --storage {root} --workers 2 --gpus 4 --address 127.0.0.1:1"
    with pytest.raises(SystemExit) as stop:
        run(cli.main, words.split())
    assert stop.value.code == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fftune: ")]
    assert len(said) == 1
    assert said[0].startswith("fftune: cluster '127.0.0.1:1' cannot be reached: ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Second(ProcessGroup):
    """The process that does not lead, as if the other had the same to say."""

    rank: int = 1
    size: int = 2

    def leaders(self, value):
        return value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a run that a driver has begun."""
    path = tmp_path / "runs/pair"
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    return path


@pytest.fixture
def worker(folder: Path, monkeypatch):
    """The second of two workers, with what training does there."""

    def work(trains, folder: Path = folder) -> None:
        monkeypatch.setattr(on_ray.ProcessGroup, "current", Second)
        monkeypatch.setattr(on_ray, "train", trains)
        metrics = Metrics(study="s", run="r")
        settings = {
            "config": ALONE,
            "folder": folder,
            "metrics": metrics,
            "driver": cluster.Driver.here(),
        }
        on_ray._worker(settings)

    return work


def fails(error: Exception):
    def training(**_settings) -> None:
        raise error

    return training


def never(**_settings) -> None:
    raise AssertionError("nothing was to be trained")


def test_what_fails_on_any_worker_ends_all_and_no_attempt_follows(folder: Path, worker) -> None:
    """The first word stands: what others say after it may be a consequence."""
    with pytest.raises(DataError, match="^rank 1 has no such file$"):
        worker(fails(DataError("rank 1 has no such file")))
    first = (folder / "failed.json").read_text()
    leave(ModelError("later"), folder)
    assert (folder / "failed.json").read_text() == first
    assert first == '{"error": "DataError", "message": "rank 1 has no such file"}\n'
    worker(never)  # Ray's next attempt ends at once, without an error


def test_a_death_is_not_told_so_that_it_is_tried_again(folder: Path, worker) -> None:
    with pytest.raises(RuntimeError, match="CUDA"):
        worker(fails(RuntimeError("CUDA error")))
    assert not (folder / "failed.json").exists()


def test_a_worker_without_the_runs_folder_makes_none(tmp_path: Path, worker) -> None:
    """As on a node that joined later, and has not mounted the storage."""
    with pytest.raises(
        StorageError, match=r"^storage '.*/elsewhere' is not visible on node \d.*; name"
    ):
        worker(never, tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("left", "raised", "expected"),
    [
        (
            '{"error": "DivergedError", "message": "loss is nan"}',
            None,
            DivergedError("loss is nan"),
        ),
        (
            '{"error": "DataError", "message": "no such file"}',
            WorkerGroupError("x", {0: RuntimeError("connection closed by peer")}),
            DataError("no such file"),
        ),
        (
            None,
            WorkerGroupError("x", {0: RuntimeError("closed"), 1: StorageError("not seen")}),
            StorageError("not seen"),
        ),
        (
            None,
            WorkerGroupError("first\nout of memory", {1: RuntimeError("y")}),
            FftuneError("workers died more than 3 times; the last: out of memory"),
        ),
    ],
)
def test_the_driver_says_what_the_workers_said(
    folder: Path, monkeypatch, left: str | None, raised: TrainingFailedError | None, expected
) -> None:
    class Trainer:
        def __init__(self, *_arguments, **_settings) -> None:
            pass

        def fit(self) -> None:
            assert not (folder / "failed.json").exists()  # an earlier command's word is void
            if left:
                (folder / "failed.json").write_text(left)
            if raised:
                raise raised

    (folder / "failed.json").write_text("of an earlier command")
    monkeypatch.setattr(on_ray, "TorchTrainer", Trainer)
    monkeypatch.setattr(on_ray, "max_concurrent", lambda *_needs: 1)
    with pytest.raises(type(expected)) as told:
        on_ray.train_on_ray(
            replace(ALONE, workers=2), folder=folder, metrics=Metrics(study="s", run="r")
        )
    assert type(told.value) is type(expected)
    assert str(told.value) == str(expected)
