"""What a process imports before its first gradient is what its user waits for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, sys, threading
from importlib.machinery import PathFinder

HEAVY = {"sklearn", "scipy.stats", "pandas", "torch._dynamo", "sympy", "ray", "optuna", "plotly"}
HEAVY |= {"torchvision", "sqlalchemy", "matplotlib"}

class Gate:
    "MLflow's import never ends: who waits for it is stopped by the clock."
    def find_spec(self, name, path=None, target=None):
        if name != "mlflow":
            return None
        spec = PathFinder.find_spec(name, path, target)
        spec.loader.exec_module = lambda module: threading.Event().wait()
        return spec

def grad(*args, **kwargs):
    frame, rooms = sys._getframe(1), set()
    while frame is not None:
        rooms.add(frame.f_globals.get("__name__", "").rpartition(".")[0])
        frame = frame.f_back
    if "fftune.attacks" in rooms and "fftune.lint" not in rooms:
        print("imported:", *sorted(HEAVY & set(sys.modules)), flush=True)
        os._exit(0)
    return first(*args, **kwargs)

sys.meta_path.insert(0, Gate())
from fftune.cli import main
import torch
first, torch.autograd.grad = torch.autograd.grad, grad
main()
"""


@pytest.mark.parametrize(
    "command",
    [
        "train thrm --scale tiny --optimizer.epochs 1 --name timed",
        pytest.param(
            "evaluate --model small_cnn --data digits --examples 64", marks=pytest.mark.slow
        ),
    ],
)
def test_no_library_is_imported_that_the_first_gradient_does_without(
    command: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command.split()],
        cwd=ROOT,
        env={**os.environ, "FFTUNE_STORAGE": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["imported:"]
