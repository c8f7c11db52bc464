"""Marks of a process's way to its first gradient; Python imports this file before all else.

`benchmarks/startup.py` puts this folder on PYTHONPATH, so that workers of Ray are marked too. A
mark is a line `SECONDS CPU-SECONDS PROCESS LABEL` in the file that FFTUNE_MARKS names, a span two.
"""

import os
import sys
import time
from functools import wraps
from importlib.machinery import PathFinder

FUNCTIONS = {
    "fftune.cli.options": {"announce_imports": "settings parsed"},
    "fftune.tracking.store": {"open_tracking": "MLflow opened"},
    "fftune.sweeping.optuna_storage": {"open_storage": "Optuna opened"},
    "fftune.data.subset": {"sampled": "data"},
    "fftune.training.phases": {"open_data": "data"},
    "fftune.data.model_spec": {"load_for": "net"},
    "fftune.training.init_model": {"init_model": "net"},
    "fftune.training.optimizer": {"make_optimizer": "optimizer"},
    "fftune.evaluation.job": {"check_images": "fit", "lint_model": "lint"},
    "torch.cuda": {"_lazy_init": "CUDA context"},
    "torch.autograd": {"grad": "gradient"},
    "ray": {"init": "Ray started"},
}
"""Functions whose first call in a process is a span, by module."""
TRIALS = ("fftune.sweeping.trial_runner", "TrialRunner")


def mark(label):
    with open(os.environ["FFTUNE_MARKS"], "a", encoding="utf-8") as file:
        file.write(f"{time.time():.4f} {time.process_time():.4f} {os.getpid()} {label}\n")


def spanned(function, label, seen):
    @wraps(function)
    def call(*args, **kwargs):
        if label in seen:
            return function(*args, **kwargs)
        seen.add(label)
        mark(f"{label} (")
        try:
            return function(*args, **kwargs)
        finally:
            mark(f"{label} )")

    return call


def first_of_attack(grad, seen):
    """Mark the first gradient that an attack takes; the lint takes some before it."""

    @wraps(grad)
    def call(*args, **kwargs):
        found = grad(*args, **kwargs)
        if "gradient" not in seen and of_attack(sys._getframe(1)):
            seen.add("gradient")
            torch = sys.modules["torch"]
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()
            mark("gradient")
        return found

    return call


def of_attack(frame):
    names = set()
    while frame is not None:
        names.add(frame.f_globals.get("__name__", "").rpartition(".")[0])
        frame = frame.f_back
    return "fftune.attacks" in names and "fftune.lint" not in names


class Marker:
    """A finder that patches modules when they have been executed."""

    def __init__(self):
        self.seen = set()

    def find_spec(self, name, path=None, target=None):
        if name not in FUNCTIONS and name not in (TRIALS[0], "torch"):
            return None
        spec = PathFinder.find_spec(name, path, target)
        run = spec.loader.exec_module

        def exec_module(module):
            if name == "torch":
                mark("import torch (")
            run(module)
            if name == "torch":
                mark("import torch )")
            self.patch(module)

        spec.loader.exec_module = exec_module
        return spec

    def patch(self, module):
        for name, label in FUNCTIONS.get(module.__name__, {}).items():
            function = getattr(module, name)
            if label == "gradient":
                module.grad = first_of_attack(function, self.seen)
            else:
                setattr(module, name, spanned(function, label, self.seen))
        if module.__name__ == TRIALS[0]:
            self.patch_trials(getattr(module, TRIALS[1]))

    def patch_trials(self, runner):
        run = runner.__call__

        def call(self_, number, *args, **kwargs):
            mark(f"trial {number} (")
            self.seen -= {"gradient", "data", "net", "optimizer", "fit", "lint"}
            try:
                return run(self_, number, *args, **kwargs)
            finally:
                mark(f"trial {number} )")

        runner.__call__ = call


if "FFTUNE_MARKS" in os.environ:
    mark("python")
    sys.meta_path.insert(0, Marker())
