"""What `fftune.train` gives to Ray, and what its workers say; no Ray is started here."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fftune import cluster
from fftune.cli import run
from fftune.config import Resources
from fftune.sweep.run import sweep
from fftune.train import cli, on_ray, train
from fftune.train.record import run_recorded
from tests.train.tinies import tiny

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
    monkeypatch.setattr(cluster, "require_seen", lambda _folder: None)
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
    checkpoint, _ = run_recorded(config, name="r", root=root, resources=resources, resume=False)
    assert given_to_ray == expected
    assert len(checkpoint.history) == 1


def test_a_trial_of_one_worker_has_its_gpus_already(quick, root: Path, given_to_ray) -> None:
    """It is a process that Ray gave them to."""
    one = replace(quick, trials=1, battery=replace(quick.battery, examples=10))
    front = sweep(one, root=root, backend="inline", resources=Resources(gpus=1.0))
    assert len(front.points) == 1
    assert given_to_ray == []


def test_a_cluster_that_does_not_answer_is_one_line(root: Path, capsys) -> None:
    words = f"standard --storage {root} --gpus 4 --address 127.0.0.1:1"
    with pytest.raises(SystemExit) as stop:
        run(cli.main, words.split())
    assert stop.value.code == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fftune: ")]
    assert len(said) == 1
    assert said[0].startswith("fftune: cluster '127.0.0.1:1' cannot be reached: ")
