"""What `escalating`, with its canary, misses of what `full` finds.

    python experiments/2026-11-27-tiers-tested.py FOLDER NET... --models MODELS
        [--overfitted WEIGHTS] [--images 2000] [--eps 2/255] [--alone]

`escalating` is run as a user runs it, on images evenly spread over the test set; `full` then on
what it leaves, unless it has become `full` itself. MODELS holds published nets and their
`architectures.py`, WEIGHTS those of the net that `2026-11-27-tiers.py` calls overfitted. Rows are
kept in FOLDER, and not made again. `--alone` leaves `full` out, and only times `escalating`.
"""

import argparse
import importlib.util
import time
from fractions import Fraction
from pathlib import Path

import pandas as pd
import torch
from torch import nn

import fftune
from fftune.config import DataSpec
from fftune.data.subset import sample
from fftune.models import make_model
from fftune.result import Evaluation

BALLS = {
    "fastat_small": ("cifar10", "8/255"),
    "cifar_resnet2b": ("cifar10", "2/255"),
    "fastadv_mnist_pgd": ("mnist", "3/10"),
    "overfitted": ("cifar10", "8/255"),
    "wk_mnist_0.1": ("mnist", "1/10"),
}
"""Data and radius in l_inf of each net."""
NAMES = ["ensemble", "autoattack", "strong"]
"""Names of the ensembles: `full` for adversaries is AutoAttack."""
GOALS = {"adversarial": "ensemble", "hypocritical": "hypocritical"}
"""The battery that holds the tiers of each goal."""


def net_of(name: str, given: argparse.Namespace) -> nn.Module:
    """A net by its name, in eval mode."""
    if name == "overfitted":
        net = make_model("small_resnet", sample(DataSpec(name="cifar10"), "test", 1).inputs)
        net.load_state_dict(torch.load(given.overfitted, weights_only=True))
        return net.eval()
    file = given.models / "architectures.py"
    spec = importlib.util.spec_from_file_location("architectures", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: nn.Module = module.load(name)
    return found.eval()


def rows_of(result: Evaluation, goal: str) -> pd.DataFrame:
    """Rows of the ensemble of a goal, of the images that it is about."""
    rows = result.outcomes.to_pandas()
    rows = rows[rows["attack"].isin(NAMES) & (rows["goal"] == goal)]
    right = rows["pred_clean"] == rows["y"]
    return rows[right if goal == "adversarial" else ~right]


def main() -> None:
    """Test each net for both goals, and print a line of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("nets", nargs="+", choices=BALLS)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--overfitted", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--eps")
    parser.add_argument("--goals", nargs="*", choices=GOALS, default=[*GOALS])
    parser.add_argument("--alone", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    for name in given.nets:
        for goal in given.goals:
            print(tested(name, goal, given), flush=True)


def tested(name: str, goal: str, given: argparse.Namespace) -> str:
    """One net and goal: what was found, missed, spent and said."""
    net, (source, radius) = net_of(name, given), BALLS[name]
    radius = given.eps or radius
    eps = float(Fraction(radius))
    data = sample(DataSpec(name=source), "test", given.images)
    ids, x, y = next(data.batches(len(data)))
    began, cpu = time.perf_counter(), time.process_time()
    battery = GOALS[goal]
    result = fftune.evaluate(net, data=(ids, x, y), eps=eps, battery=battery, tier="escalating")
    took = f"{time.process_time() - cpu:.0f} CPU-s, {time.perf_counter() - began:.0f} s"
    rows, every = rows_of(result, goal), result.outcomes.to_pandas()
    every.to_parquet(given.folder / f"{name}-{radius.replace('/', '_')}-{goal}-{len(ids)}.parquet")
    found = rows["success"].astype(bool)
    tiers = "+".join(sorted({*rows["tier"].astype(str)}))
    said = (
        f"{name}, {radius}, {goal}: {int(found.sum())} of {len(rows)} found, {tiers}, {took}; "
        f"robust accuracy {result.risks().robust_accuracy}"
    )
    left = torch.isin(ids, torch.tensor([*rows["id"][~found]], dtype=ids.dtype))
    if given.alone or tiers == "full" or not left.any():
        return said
    cpu = time.process_time()
    images = ids[left], x[left], y[left]
    full = rows_of(fftune.evaluate(net, data=images, eps=eps, battery=battery, tier="full"), goal)
    missed = [int(i) for i in full["id"][full["success"].astype(bool)]]
    took = f"{time.process_time() - cpu:.0f} CPU-s"
    return f"{said}; full on the {int(left.sum())} left finds {len(missed)} {missed}, {took}"


if __name__ == "__main__":
    main()
