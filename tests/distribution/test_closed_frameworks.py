"""A verb does its work where a framework that it has no use for cannot be imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
class Closed:
    def find_spec(self, name, path=None, target=None):
        if name in closed:
            raise ImportError(f"{name} is closed")
closed, sys.argv = set(sys.argv[1].split(",")), ["fftune", *sys.argv[2:]]
sys.meta_path.insert(0, Closed())
from fftune.cli import main
main()
"""
INLINE = "--scale tiny --trials 2 --base.optimizer.epochs 1 --backend inline"
STEPS = [
    ("ray,mlflow,optuna", "data list"),
    ("ray,torchvision,optuna", "train standard --scale tiny --optimizer.epochs 1 --name first"),
    ("ray,torchvision,optuna", "evaluate {run} --battery risks --examples 16"),
    ("ray,torchvision,optuna,mlflow", "doctor {run} --examples 16"),
    ("ray,torchvision", f"sweep thrm {INLINE}"),
    ("ray,torchvision", "report thrm-tiny"),
]


@pytest.mark.slow
def test_verbs_do_without_what_they_do_not_need(tmp_path: Path) -> None:
    environment = {**os.environ, "FFTUNE_STORAGE": str(tmp_path), "OMP_NUM_THREADS": "1"}
    for closed, verb in STEPS:
        words = verb.format(run=tmp_path / "runs/first/checkpoint").split()
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, closed, *words],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (verb, done.stderr[-2000:])
        assert "is closed" not in done.stderr, verb
