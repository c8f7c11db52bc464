"""What is counted where Ray is absent: nothing. What Prometheus gets of it: tests/clusters."""

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fftune import recipes
from fftune.metrics import COUNTERS, GAUGES, Metrics
from fftune.training.cost import Passes, per_example
from fftune.training.history import EpochRecord
from fftune.training.tracked import count_epoch

CALLS = (
    "from fftune.metrics import Metrics\n"
    "metrics = Metrics(study='thrm-tiny', run='trials/3')\n"
    "metrics.block(attack='pgd', goal='hypocritical', examples=8, forwards=9, backwards=10,"
    " successes=0)\n"
    "metrics.queue(3), metrics.actors(2), metrics.retry('pgd'), metrics.failed('pgd')\n"
    "metrics.gpu_memory(5)\n"
    "metrics.epoch(examples=7, forwards=21, backwards=14, loss=0.5, accuracy=0.75)\n"
)


def test_without_ray_nothing_is_counted_or_imported() -> None:
    code = f"{CALLS}import sys; sys.exit('ray' in sys.modules)"
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_it_travels() -> None:
    metrics = Metrics(study="a", run="b")
    assert pickle.loads(pickle.dumps(metrics)) == metrics


def test_names_are_prometheus_names() -> None:
    assert all(name.endswith("_total") for name in COUNTERS)
    assert not any(name.endswith("_total") for name in GAUGES)


@pytest.mark.parametrize(
    ("recipe", "lam", "forwards", "backwards"),
    [
        ("standard", 0.0, 1, 1),
        ("pgd_at", 0.0, 11, 11),  # ten steps, and the perturbed half alone is learned from
        ("thrm", 10.0, 12, 12),  # ten steps, and both halves are
        ("trades", 10.0, 13, 12),  # and the logits that x_sta must leave
    ],
)
def test_passes_of_one_example(recipe: str, lam: float, forwards: int, backwards: int) -> None:
    base = recipes.thrm("tiny").base
    config = replace(base, objective=recipe, lam=lam, attack=replace(base.attack, steps=10))
    assert per_example(config).passes == Passes(forwards=forwards, backwards=backwards)


def test_an_epoch_counts_its_examples_and_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, float, dict[str, str]]] = []

    class Instrument:
        def __init__(self, name: str) -> None:
            self.name = name

        def inc(self, value: float, labels: dict[str, str]) -> None:
            told.append((self.name, value, labels))

        set = inc

    monkeypatch.setattr("fftune.metrics._connected", lambda: True)
    monkeypatch.setattr("fftune.metrics._instrument", Instrument)
    base = recipes.thrm("tiny").base
    config = replace(base, lam=10.0, attack=replace(base.attack, steps=10), device="cpu")
    epoch = EpochRecord(
        epoch=3, lr=0.1, loss=0.5, accuracy=0.75, seconds=0.3, examples_per_second=700 / 0.3
    )
    count_epoch(Metrics(study="thrm-tiny", run="trials/3"), epoch, config)
    assert {name: value for name, value, _ in told} == {
        "fftune_train_epochs_total": 1,
        "fftune_train_examples_total": 700,
        "fftune_train_forwards_total": 8400,
        "fftune_train_backwards_total": 8400,
        "fftune_train_loss": 0.5,
        "fftune_train_accuracy": 0.75,
    }
    assert all(labels == {"study": "thrm-tiny", "run": "trials/3"} for *_, labels in told)
