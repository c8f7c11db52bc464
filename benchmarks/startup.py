"""From `python -m` to the first gradient: where a process's first seconds go.

Every command runs in a new process, the trees in turn, and to its end, so that a second that is
only postponed is seen too. Spans are seconds from their begin to their end, and overlap.

    python benchmarks/startup.py --trees ../old . --cases train evaluate --rounds 5
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
TINY = ["--optimizer.epochs", "1"]
TRIALS = ["thrm", "--scale", "tiny", "--trials", "2", "--base.optimizer.epochs", "1"]
CASES = {
    "train": ["train", "thrm", "--scale", "tiny", *TINY, "--name", "timed"],
    "evaluate": ["evaluate", "CHECKPOINT", "--battery", "risks", "--examples", "256"],
    "sweep": ["sweep", *TRIALS, "--backend", "inline"],
    "sweep-ray": ["sweep", *TRIALS, "--concurrency", "1"],
    "evaluate-ray": ["evaluate", "CHECKPOINT", "--examples", "256", "--backend", "ray"],
}
DEVICE = {"train": "--device", "evaluate": "--battery.device", "sweep": "--base.device"}
"""Flag of the device by verb; a trial's evaluation follows its net's training."""
FIRST = 12
"""Libraries that are listed, those that take longest to import."""

CUDA = """
import time, torch
from torch.nn.functional import conv2d
def timed(label, call):
    began = time.perf_counter(); call(); torch.cuda.synchronize()
    print(f"{time.perf_counter() - began:9.3f}  {label}", flush=True)
timed("CUDA context", torch.cuda.init)
x, w = torch.zeros(64, 64, 32, 32), torch.zeros(64, 64, 3, 3)
timed("first copy to the device", lambda: globals().update(x=x.cuda(), w=w.cuda()))
timed("first product (cuBLAS)", lambda: w.flatten(1) @ w.flatten(1).T)
w.requires_grad_(True)
timed("first convolution (cuDNN)", lambda: conv2d(x, w, padding=1))
timed("the same again", lambda: conv2d(x, w, padding=1))
timed("its first gradient", lambda: torch.autograd.grad(conv2d(x, w, padding=1).sum(), w))
timed("its second gradient", lambda: torch.autograd.grad(conv2d(x, w, padding=1).sum(), w))
timed("a batch of another size", lambda: conv2d(x[:32], w, padding=1))
torch.backends.cudnn.benchmark = True
timed("cuDNN's search of an algorithm", lambda: conv2d(x, w, padding=1))
timed("cuDNN's search, another size", lambda: conv2d(x[:48], w, padding=1))
timed("cuDNN's search, a gradient", lambda: torch.autograd.grad(conv2d(x, w, padding=1).sum(), w))
"""


def main() -> None:
    """Run every case with every tree, in turn, and print medians; the first tree trains the net."""
    args = _arguments()
    trees = [tree.resolve() for tree in args.trees]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FFTUNE_STORAGE"] = folder
        checkpoint = _checkpoint(trees[0], Path(folder))
        for case in args.cases:
            runs: dict[Path, list[dict[str, float]]] = defaultdict(list)
            for _ in range(args.rounds):
                for tree in trees:
                    runs[tree].append(_run(case, tree, checkpoint, args.device))
            print(f"\n{case}, {args.device}, median of {args.rounds}, seconds")
            _table([_median(runs[tree]) for tree in trees], [tree.name for tree in trees])
            if args.imports:
                for tree in trees:
                    print(f"imports by library, {tree.name}, seconds of their own:")
                    print(_imports(case, tree, checkpoint, args.device))
    if args.device == "cuda":
        print(f"\n{_gpu()}, a bare process, seconds", flush=True)
        subprocess.run([sys.executable, "-c", CUDA], check=True)


def _run(case: str, tree: Path, checkpoint: Path, device: str) -> dict[str, float]:
    """Seconds of a new process by label: spans, and the way to each trial's first gradient."""
    with tempfile.TemporaryDirectory() as folder:
        marks = Path(folder) / "marks"
        began, before = time.time(), sum(os.times()[2:4])
        _command(case, tree, checkpoint, device, FFTUNE_MARKS=str(marks))
        ended, cpu = time.time() - began, sum(os.times()[2:4]) - before
        lines = [line.split(" ", 3) for line in marks.read_text().splitlines()]
    timeline = sorted((float(at), float(cpu), who, label) for at, cpu, who, label in lines)
    return _spans(timeline, began) | {"THE WHOLE COMMAND": ended, "its CPU-seconds": cpu}


def _spans(timeline: list[tuple[float, float, str, str]], began: float) -> dict[str, float]:
    """Read marks; those of workers are of the first one that has any."""
    found: dict[str, float] = {}
    open_: dict[tuple[str, str], float] = {}
    driver, trial = timeline[0][2], ""
    for at, cpu, process, label in timeline:
        name, _, edge = label.rpartition(" ")
        if edge == "(":
            open_[process, name] = at
            if name.startswith("trial"):
                trial = f"{name}, "
        elif edge == ")":
            where = "" if process == driver else "worker: "
            found.setdefault(f"{where}{name}", at - open_[process, name])
        elif label == "python":
            found.setdefault(
                "interpreter" if process == driver else "a worker's interpreter", at - began
            )
        else:
            found.setdefault(f"{trial}FIRST GRADIENT", at - began)
            found.setdefault(f"{trial}CPU-seconds of its process until then", cpu)
            if trial:
                found[f"{trial}from its start to its first gradient"] = (
                    at - open_[process, trial.removesuffix(", ")]
                )
    return found


def _median(runs: list[dict[str, float]]) -> dict[str, float]:
    labels = list(dict.fromkeys(label for run in runs for label in run))
    return {label: median(run[label] for run in runs if label in run) for label in labels}


def _table(columns: list[dict[str, float]], names: list[str]) -> None:
    print("  ".join(f"{name[:12]:>12}" for name in names))
    for label in dict.fromkeys(label for column in columns for label in column):
        cells = (f"{c[label]:12.2f}" if label in c else f"{'-':>12}" for c in columns)
        print("  ".join(cells) + f"  {label}", flush=True)


def _imports(case: str, tree: Path, checkpoint: Path, device: str) -> str:
    """Seconds that each library's own files took to import in one more run."""
    text = _command(case, tree, checkpoint, device, PYTHONPROFILEIMPORTTIME="1")
    own: dict[str, float] = defaultdict(float)
    for line in text.splitlines():
        if line.startswith("import time:") and "self [us]" not in line:
            self_us, _, name = line.removeprefix("import time:").split("|")
            own[name.strip().partition(".")[0]] += int(self_us) / 1e6
    most = sorted(own.items(), key=lambda item: -item[1])[:FIRST]
    rows = [*most, ("all", sum(own.values()))]
    return "\n".join(f"{seconds:9.2f}  {name}" for name, seconds in rows)


def _command(case: str, tree: Path, checkpoint: Path, device: str, **environment: str) -> str:
    """Run a case's command to its end, in storage that MLflow knows; returns its stderr."""
    verb, *words = CASES[case]
    words = [str(checkpoint) if word == "CHECKPOINT" else word for word in words]
    if device != "cpu":
        words += [DEVICE[verb], device] + (["--gpus", "1"] if "ray" in case else [])
    for made in ("runs/timed", "studies", "rows", "blocks"):
        shutil.rmtree(Path(os.environ["FFTUNE_STORAGE"]) / made, ignore_errors=True)
    path = os.pathsep.join([str(HERE / "marks"), str(tree)])
    done = subprocess.run(
        [sys.executable, "-m", f"fftune.{verb}", *words],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{case} with {tree}: {done.stderr[-2000:]}")
    return done.stderr


def _checkpoint(tree: Path, folder: Path) -> Path:
    """Train the net that is evaluated, which makes MLflow's store as well."""
    command = [sys.executable, "-m", "fftune.train", *CASES["train"][1:-1], "net"]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    subprocess.run(command, cwd=tree, env=environment, check=True, capture_output=True)
    return folder / "runs/net/checkpoint"


def _gpu() -> str:
    import torch

    return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trees", type=Path, nargs="+", default=[Path()])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--imports", action="store_true", help="list imports by library too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
