"""Certified bounds beside what attacks find, and beside published figures, on real nets.

    python benchmarks/bracket.py --models FOLDER [--examples 1000] [--broken 200] [--only ROW ...]

FOLDER holds the nets and `architectures.py`; data sets are found by `FFTUNE_DATA`. Battery
`certified` on images evenly spread over the test set; then the strongest attacks that there are,
AutoAttack and the strong false friend at tier full, on some of them: a certified image that one of
them breaks ends the run with an error. One thread; seconds are those of the process.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch
from arguments import whole
from torch import nn

from fftune.bracket import Bracket, brackets
from fftune.config import BatteryConfig, DataSpec, ThreatModel
from fftune.data import Dataset
from fftune.data.subset import sample
from fftune.evaluation.certificate import LATE
from fftune.evaluation.evaluate import evaluate
from fftune.outcomes import CERTIFIED, Outcomes
from fftune.risk import Rate


class Subject(NamedTuple):
    """A net in a ball, and the share that was published as certified right."""

    net: str
    data: str
    eps: float
    published: float


SUBJECTS = {
    "mnist": Subject("wk_mnist_0.1", "mnist", 0.1, 94.2),
    "cifar-1": Subject("cifar_resnet2b", "cifar10", 1 / 255, 57.16),
    "cifar-2": Subject("cifar_resnet2b", "cifar10", 2 / 255, 26.88),
}
HEAD = (
    "| net | eps | n | published % | certified right % (95 % CI) | PGD-20 leaves % "
    "| adversarial risk: found - at most, undecided % | n- "
    "| hypocritical risk: found - at most, undecided % | out of time | s / image |"
)
BATTERIES = ("ensemble", "hypocritical")
"""Batteries that are to break what is certified, at tier full."""


def main() -> None:
    """Print a row a net and ball."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--examples", type=whole, default=1000)
    parser.add_argument("--broken", type=whole, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--only", choices=SUBJECTS, nargs="+", default=list(SUBJECTS))
    settings = parser.parse_args()
    sys.path.insert(0, str(settings.models))
    from architectures import load

    print(HEAD, "|---" * HEAD.count("| ") + "|", sep="\n", flush=True)
    for name in settings.only:
        subject = SUBJECTS[name]
        net, threat = load(subject.net), ThreatModel(eps=subject.eps)
        images = sample(DataSpec(name=subject.data), "test", settings.examples)
        battery = BatteryConfig(name="certified", certify_seconds=settings.seconds)
        began = time.process_time()
        rows = evaluate(net, images, battery, threat=threat)
        print(row(subject, rows, time.process_time() - began), flush=True)
        step = max(1, len(images) // settings.broken)
        few = images.select(torch.arange(len(images))[::step], "test")
        print(attacked(net, few, rows, threat), file=sys.stderr, flush=True)


def row(subject: Subject, rows: Outcomes, seconds: float) -> str:
    """A row of the table."""
    adversary, friend = (
        next(one for one in brackets(rows) if one.goal == goal)
        for goal in ("adversarial", "hypocritical")
    )
    bound = rows.where(protocol=CERTIFIED)
    n = len(bound.values("id"))
    kept = Rate(adversary.most.n - adversary.most.count, n)
    left = Rate(adversary.found.n - adversary.found.count, n)
    late = len(bound.where(status=LATE))
    cells = (
        *(subject.net, f"{subject.eps:.4g}", f"{n:,}", f"{subject.published}", told(kept)),
        *(f"{100 * left.value:.1f}", ends(adversary), f"{friend.most.n:,}", ends(friend)),
        *(f"{late:,}", f"{seconds / n:.2f}"),
    )
    return f"| {' | '.join(cells)} |"


def told(rate: Rate) -> str:
    """A share in percent with its interval."""
    low, high = rate.interval
    return f"{100 * rate.value:.1f} ({100 * low:.1f}-{100 * high:.1f})"


def ends(bracket: Bracket) -> str:
    """Both ends of a risk, and what lies between them."""
    found, most, between = (
        100 * one.value for one in (bracket.found, bracket.most, bracket.undecided)
    )
    return f"{found:.1f} - {most:.1f}, {between:.1f}"


def attacked(net: nn.Module, images: Dataset, rows: Outcomes, threat: ThreatModel) -> str:
    """Attack images whose bounds are known as strongly as can be: no certified one breaks.

    Raises:
        CrossedBoundsError: they do.
    """
    bounds = rows.where(protocol=CERTIFIED).among(images.ids.tolist())
    tables = [bounds.table]
    for name in BATTERIES:
        battery = BatteryConfig(name=name, tier="full")
        tables.append(evaluate(net, images, battery, threat=threat).table)
    told = "; ".join(map(str, brackets(Outcomes.of(tables))))
    return f"eps {threat.eps:.4g}: of {len(images):,} images no certified one is broken; {told}"


if __name__ == "__main__":
    main()
