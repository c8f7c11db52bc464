"""Cheap fronts beside nets that are trained one by one: gap, share of hypervolume, cost.

    python experiments/2026-11-27-one-net.py STORAGE TRAINED CHEAP [CHEAP ...]
        [--ends ENDS] [--apart SHARE ...]

TRAINED is a study of one training a lambda, the CHEAP ones are studies by `gap`, `one-net` or
`soup` on the same data; all lie in STORAGE. Every figure is of the test split.

- Gap: hypocritical risk of a cheap front less that of the trained one at equal natural risk, in
  points, by the house's own comparison (`fftune.comparison.front_gap`, as in every report of two
  studies): mean and maximum over the natural risks that both fronts reach; then its mean, and those
  of both ends of the 95 % band, over the risks that nine in ten draws of seeds and images reach.
- Share: hypervolume below (1, 1) that a front has above what its two ends alone give, the trained
  nets of the least and the greatest lambda; divided by what the trained front has above them. The
  ends are those of the same seed in ENDS, a study of the two by `grid`, or in TRAINED, for all. By
  seeds of the cheap front: mean, least and greatest.
- Cost: examples that training perturbed, a seed; and the same in trainings of one lambda.
- Jump, of a study by `one-net` with two BatchNorms a layer: the share of test images on which the
  nets of lambda = 0 and of lambda = 1e-6 answer differently, by seed. With one it is 0.
- Apart: both risks of the weights so far between the ends of TRAINED, which were trained apart.
"""

import argparse
from pathlib import Path
from statistics import mean

import numpy as np
import torch

from fftune.comparison import front_gap
from fftune.data.subset import sample
from fftune.evaluation.batteries import attacks_of
from fftune.evaluation.evaluate import evaluate
from fftune.pareto import hypervolume, non_dominated
from fftune.risk import RiskCounts
from fftune.sweeping.front import Front
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.study_records import read_study
from fftune.sweeping.training_trial import hypocritical_rows
from fftune.training.checkpoint import at_lambda, read_checkpoint
from fftune.training.soup import blended

Points = list[tuple[float, float]]


class Study:
    """A finished study: its points by seed, its rows, and its cost."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self.folder = StudyDir(folder, read_study(folder))
        self.front = Front.read(folder / "front.json")
        self.seeds = sorted({result.seed for result in self.front.results})

    def points(self, seed: int) -> Points:
        """Natural and hypocritical risk of each net of a seed, by lambda."""
        return [
            (r.test.natural_risk.value, r.test.hypocritical_risk.value)
            for r in self.front.results
            if r.seed == seed
        ]

    @property
    def lams(self) -> list[float]:
        """Lambdas, ascending."""
        return sorted({result.lam or 0.0 for result in self.front.results})

    @property
    def rows(self) -> list[list]:
        """Rows of the hypocritical attack on each member of the front, a table a seed."""
        members = [trial.trial for trial in self.front.members]
        return [hypocritical_rows(self.folder, number, "test") for number in members]

    @property
    def crafted(self) -> float:
        """Examples that training perturbed, a seed."""
        return sum(result.crafted for result in self.front.results) / len(self.seeds)


def gain(points: Points, ends: Points) -> float:
    """Hypervolume below (1, 1) of points with two ends, less that of the ends alone."""
    return hypervolume([*points, *ends]) - hypervolume(ends)


def shares(cheap: Study, trained: Study, ends: Study) -> list[float]:
    """Gain of a cheap front over that of the trained one, above the same two nets, by seed."""
    found = []
    for seed in cheap.seeds:
        known = trained.points(seed if seed in trained.seeds else trained.seeds[0])
        of_seed = ends.points(seed if seed in ends.seeds else ends.seeds[0])
        low_high = [of_seed[0], of_seed[-1]]
        found.append(gain(cheap.points(seed), low_high) / gain(known, low_high))
    return found


def told_gap(cheap: Study, trained: Study) -> str:
    """Gap at equal natural risk, with its band and where both fronts reach."""
    band = front_gap(cheap.rows, trained.rows)
    if not len(band.natural):
        return "no natural risk is common to both"
    at, gap, low, high = (
        100 * np.asarray(each) for each in (band.natural, band.gap, band.low, band.high)
    )
    text = f"{gap.mean():+.1f} points, at most {gap.max():+.1f}, from {at[0]:.1f} to {at[-1]:.1f} %"
    reached = np.isfinite(low)
    if not reached.any():
        return f"{text}; no band, as nowhere nine in ten draws reach"
    inside = at[reached]
    return (
        f"{text}; {gap[reached].mean():+.1f} ({low[reached].mean():+.1f} to "
        f"{high[reached].mean():+.1f}) from {inside[0]:.1f} to {inside[-1]:.1f} %"
    )


def told_points(study: Study) -> str:
    """Both risks at each lambda in percent, means over the seeds; the front's own by a star."""
    each = np.mean([study.points(seed) for seed in study.seeds], axis=0)
    kept = non_dominated(each)
    return ", ".join(
        f"{lam:g}: {100 * natural:.1f}/{100 * hypocritical:.1f}{'*' if star else ''}"
        for lam, (natural, hypocritical), star in zip(study.lams, each, kept, strict=True)
    )


def jump(study: Study) -> str:
    """Share of test images that lambda = 0 and lambda just above it answer differently, by seed."""
    found = []
    for seed in study.seeds:
        folder = study.folder.path / f"shared/one-net-{seed}"
        checkpoint = read_checkpoint(folder / "checkpoint", folder / "history.parquet")
        images = next(sample(checkpoint.config.data, "test", 2000).batches(2000))[1]
        with torch.no_grad():
            zero, above = (at_lambda(checkpoint, lam).model(images) for lam in (0.0, 1e-6))
        found.append(float((zero.argmax(1) != above.argmax(1)).float().mean()))
    return ", ".join(f"{100 * one:.1f} %" for one in found)


def apart(trained: Study, share: float) -> str:
    """Both risks between the ends of a study of trainings of their own, on its first seed."""
    config = trained.folder.config
    numbers = [r.trial for r in trained.front.results if r.seed == trained.seeds[0]]
    folders = [trained.folder.seed_folder(n, trained.seeds[0]) for n in (numbers[0], numbers[-1])]
    ends = [read_checkpoint(f / "checkpoint", f / "history.parquet") for f in folders]
    net = blended(*ends, share).model
    threat, battery = config.base.attack.threat, config.battery
    friend = [one for one in attacks_of(battery, threat) if one.goal == "hypocritical"]
    images = sample(config.base.data, "test", battery.examples)
    counts = RiskCounts.of_friend(evaluate(net, images, battery, threat=threat, attacks=friend))
    return f"{100 * counts.natural_risk.value:.1f}/{100 * counts.hypocritical_risk.value:.1f}"


def main() -> None:
    """Read the studies and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("storage", type=Path)
    parser.add_argument("trained")
    parser.add_argument("cheap", nargs="+")
    parser.add_argument("--ends")
    parser.add_argument("--apart", type=float, nargs="*", default=[], metavar="SHARE")
    arguments = parser.parse_args()
    trained, *cheap = (
        Study(arguments.storage / "studies" / name)
        for name in (arguments.trained, *arguments.cheap)
    )
    ends = Study(arguments.storage / "studies" / (arguments.ends or arguments.trained))
    one = trained.crafted / sum(lam > 0 for lam in trained.lams)
    for study in (trained, *cheap):
        print(f"\n{study.name}, {len(study.seeds)} seeds; lambda: natural/hypocritical risk in %")
        print(f"  {told_points(study)}")
        print(f"  cost {study.crafted:,.0f} examples, {study.crafted / one:.2f} trainings")
        if study is not trained:
            print(f"  gap {told_gap(study, trained)}")
            each = shares(study, trained, ends)
            print(f"  share {mean(each):.2f} ({min(each):.2f} to {max(each):.2f})")
        if study.folder.config.strategy == "one-net":
            print(f"  jump at lambda = 0: {jump(study)}")
    for share in arguments.apart:
        print(f"\nbetween ends trained apart, {share:g} of the way: {apart(trained, share)}")


if __name__ == "__main__":
    main()
