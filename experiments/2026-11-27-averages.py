"""Differences of the other nets of trainings from the last ones: python FILE STUDY [STUDY ...].

For each trial of a study that was swept with --variants: risk of its averages, and of its best
nets, minus that of its last ones, on test images, in points. Intervals are 95 %, of a two-level
bootstrap that draws seeds and images once for both nets.
"""

import sys
from pathlib import Path

import numpy as np

from fftune.config.model import VARIANTS
from fftune.outcomes import Outcomes
from fftune.storage import storage_root
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.study_records import read_study
from fftune.sweeping.training_trial import hypocritical_rows

DRAWS = 1000


def tables(rows: list[Outcomes]) -> tuple[np.ndarray, np.ndarray]:
    """(S, N) bool each: misclassified when clean; of those, concealed."""
    frames = [one.to_pandas().sort_values("id") for one in rows]
    wrong = np.stack([frame["pred_clean"] != frame["y"] for frame in frames])
    return wrong, wrong & np.stack([frame["success"] for frame in frames])


def risks(net: tuple[np.ndarray, np.ndarray], weights: np.ndarray) -> np.ndarray:
    """(S, 2) natural and hypocritical risk of each seed."""
    wrong, concealed = (part @ weights for part in net)
    return np.stack([wrong / weights.sum(), concealed / wrong], axis=1)


def main(names: list[str]) -> None:
    """Print a line a trial and net."""
    for name in names:
        path = storage_root(None, written=False) / "studies" / name
        study = StudyDir(Path(path), read_study(Path(path)))
        for number, settings in study.recorded().items():
            last = tables(hypocritical_rows(study, number, "test"))
            for variant in VARIANTS:
                other = tables(hypocritical_rows(study, number, "test", variant))
                print(name, f"lambda {settings['lam']:g}", variant, told(last, other))


def told(last: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> str:
    """Differences in both risks, with their intervals."""
    rng, (seeds, n) = np.random.default_rng(0), last[0].shape
    everyone = np.ones(n, np.int64)
    found = (risks(other, everyone) - risks(last, everyone)).mean(axis=0)
    drawn = []
    for _ in range(DRAWS):
        weights = np.bincount(rng.integers(n, size=n), minlength=n)
        kept = rng.integers(seeds, size=seeds)
        drawn.append((risks(other, weights) - risks(last, weights))[kept].mean(axis=0))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return ", ".join(
        f"{risk} {100 * a:+.2f} ({100 * b:+.2f} to {100 * c:+.2f})"
        for risk, a, b, c in zip(("natural", "hypocritical"), found, low, high, strict=True)
    )


if __name__ == "__main__":
    main(sys.argv[1:])
