"""Crafting in bf16 against fp32: what it does to the nets that are trained on it.

    python experiments/2026-11-26-bf16-crafting.py FOLDER [--data digits cifar10] [--seeds 0 1 2]

THRM by its recipe (`tiny` on the digits; `small` on 5,000 CIFAR-10 images, `--epochs` long), the
joint step in fp32; each net is evaluated by the battery `risks` in fp32. Nets and rows are kept in
FOLDER. The table gives D, A, F and hypocritical risk, and their paired differences: seeds are
resampled, then images, the same ones for all nets.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import fftune
from fftune.outcomes import Outcomes

PRECISIONS = ("bf16", "fp32")
DRAWS = 4000


def main() -> None:
    """Train what is not there yet, evaluate it, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", nargs="*", default=["digits", "cifar10"])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--examples", type=int, default=1000)
    given = parser.parse_args()
    (given.folder / "rows").mkdir(parents=True, exist_ok=True)
    for data in given.data:
        found = {
            precision: np.stack(
                [rows_of(net_rows(given, data, precision, seed)) for seed in given.seeds]
            )
            for precision in PRECISIONS
        }
        report(data, found)


def net_rows(given: argparse.Namespace, data: str, precision: str, seed: int) -> Outcomes:
    """The rows of a net that is trained for them, or was."""
    folder = given.folder / f"{data}-{precision}-{seed}"
    settings = {"optimizer.epochs": given.epochs} if data == "cifar10" else {}
    checkpoint = fftune.train(
        "thrm",
        scale="small" if data == "cifar10" else "tiny",
        folder=folder,
        settings=settings,
        craft_precision=precision,
        seed=seed,
    )
    print(data, precision, seed, checkpoint.history[-1], flush=True)
    return fftune.evaluate(
        checkpoint, storage=given.folder / "rows", examples=given.examples, precision="fp32"
    ).outcomes


def rows_of(outcomes: Outcomes) -> NDArray[np.bool_]:
    """(3, N) bool in the order of ids: right when clean, under the adversary, by the friend."""
    frame = outcomes.to_pandas().sort_values("id")
    columns = []
    for goal in ("adversarial", "hypocritical"):
        part = frame[frame["goal"] == goal]
        assert part["id"].is_unique
        columns.append(part["pred_pert"].to_numpy() == part["y"].to_numpy())
    return np.stack([part["pred_clean"].to_numpy() == part["y"].to_numpy(), *columns])


def measures(rows: NDArray[np.bool_], weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """(S, 4) D, A, F and hypocritical risk of each seed's net, in per cent."""
    clean, robust, friend = rows.transpose(1, 0, 2)
    a = clean & robust
    wrong = (~clean) @ weights
    concealed = (~clean & friend) @ weights
    total = weights.sum()
    return 100 * np.stack(
        [clean @ weights / total, a @ weights / total, friend @ weights / total, concealed / wrong],
        axis=1,
    )


def report(data: str, found: dict[str, NDArray[np.bool_]]) -> None:
    """Print the table of one data set."""
    seeds, _, images = found["fp32"].shape
    everyone = np.ones(images, np.int64)
    each = {precision: measures(rows, everyone) for precision, rows in found.items()}
    rng = np.random.default_rng(0)
    drawn = np.empty((DRAWS, 4))
    for draw in range(DRAWS):
        kept = rng.integers(seeds, size=seeds)
        weights = np.bincount(rng.integers(images, size=images), minlength=images)
        one, two = (measures(found[p][kept], weights) for p in PRECISIONS)
        drawn[draw] = (one - two).mean(axis=0)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    print(f"{data}: {seeds} seeds, n = {images} images")
    for i, name in enumerate(("D", "A", "F", "hypocritical risk")):
        values = {p: ", ".join(f"{v:.1f}" for v in each[p][:, i]) for p in PRECISIONS}
        gain = float((each["bf16"] - each["fp32"]).mean(axis=0)[i])
        print(
            f"| {data} | {name} | {values['fp32']} | {values['bf16']} | {gain:+.2f} "
            f"({low[i]:+.2f} to {high[i]:+.2f}) |",
            flush=True,
        )


if __name__ == "__main__":
    main()
