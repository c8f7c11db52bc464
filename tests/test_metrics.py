"""What is counted where Ray is absent: nothing. What Prometheus gets of it: tests/clusters."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from fftune import recipes
from fftune.metrics import COUNTERS, GAUGES, Metrics
from fftune.train.cost import Passes, per_example

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
    code = f"{CALLS}import sys; sys.exit(str({{'ray', 'torch'}} & set(sys.modules)) if 'ray' in sys.modules else 0)"
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
    from dataclasses import replace

    base = recipes.thrm("tiny").base
    config = replace(base, objective=recipe, lam=lam, attack=replace(base.attack, steps=10))
    assert per_example(config) == Passes(forwards=forwards, backwards=backwards)
