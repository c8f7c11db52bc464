"""Lambdas side by side in one process (`--fuse k`) against the same trainings in turn.

    python benchmarks/fused.py [--device cuda] [--nets small_cnn small_resnet] [--batch 50 100]
                               [--copies 1 3 9] [--threads 1 2] [--steps 4] [--rounds 5]

THRM with ten steps of PGD; `small_cnn` on digits, other nets on random images of CIFAR-10's shape,
which do not change the speed. Both ways take the same steps, a round each in turn; seconds are
medians over the rounds of wall and process time, an epoch's last wait for the device included.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from arguments import device, whole
from train import hardware

from fftune.config import DataSpec, TrainConfig
from fftune.models import torch_threads
from fftune.recipes import Basis, training
from fftune.registry import MODELS
from fftune.training.distributed import ProcessGroup
from fftune.training.fused_trainer import FusedTrainer
from fftune.training.history import EpochRecord
from fftune.training.trainer import Trainer

LAMS = (1.0, 5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0)
WARM = 2
"""Rounds that are not timed: on a card the first compile and record."""
HEAD = (
    "| net | batch | threads | k | fused: wall, CPU | in turn: wall, CPU | gain: wall, CPU "
    "| fused, times one net | losses apart |"
)


@dataclass(frozen=True, slots=True)
class Seconds:
    """Seconds of a step."""

    wall: float
    own: float
    """Time of the process, over all of its threads."""

    def __str__(self) -> str:
        return f"{1000 * self.wall:,.1f}, {1000 * self.own:,.1f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", type=device, default="cpu")
    nets = ("small_cnn", "small_resnet")
    parser.add_argument("--nets", nargs="+", default=nets, choices=tuple(MODELS))
    parser.add_argument("--batch", nargs="+", type=whole, default=[50])
    parser.add_argument("--copies", nargs="+", type=whole, default=[1, 3, 9])
    parser.add_argument("--threads", nargs="+", type=whole, default=[1, 2])
    parser.add_argument("--steps", type=whole, default=4)
    parser.add_argument("--rounds", type=whole, default=5)
    given = parser.parse_args()
    print(f"torch {torch.__version__}, {hardware(given.device)}; THRM, ten steps of PGD;")
    print(f"{given.steps} steps a round, medians of {given.rounds} rounds\n")
    print(HEAD + "\n|" + "---|" * (HEAD.count("|") - 1))
    for net in given.nets:
        for batch in given.batch:
            for threads in given.threads:
                with torch_threads(threads):
                    for copies in given.copies:
                        compare(config_of(net, batch, threads, given), copies, given)


def config_of(net: str, batch: int, threads: int, given: argparse.Namespace) -> TrainConfig:
    """A training whose epochs are the rounds."""
    config = training("thrm", Basis(scale="tiny" if net == "small_cnn" else "full", model=net))
    images = batch * given.steps
    data = replace(config.data, train_size=images, validation_size=0)
    if net != "small_cnn":
        name = f"synthetic:shape=3x32x32,classes=10,train={images},test=10"
        data = DataSpec(name=name, train_size=None, validation_size=0)
    optimizer = replace(config.optimizer, batch_size=batch, epochs=given.rounds + WARM)
    return replace(
        config,
        data=data,
        optimizer=optimizer,
        attack=replace(config.attack, steps=10),
        validate_every=0,
        threads=threads,
        lam=1.0,
        device=given.device,
    )


def compare(config: TrainConfig, copies: int, given: argparse.Namespace) -> None:
    """Time both ways, and print a line of the table."""
    lams = tuple(LAMS[at % len(LAMS)] + at // len(LAMS) for at in range(copies))
    together = begun(FusedTrainer, config, given, lams)
    assert isinstance(together, FusedTrainer)
    singles = [begun(Trainer, replace(config, lam=lam), given) for lam in lams]
    ways: dict[str, list[Iterator[EpochRecord]]] = {
        "fused": [together.epochs()],
        "in turn": [single.epochs() for single in singles],
    }
    times: dict[str, list[Seconds]] = {way: [] for way in ways}
    for number in range(WARM + given.rounds):
        for way in sorted(ways, reverse=number % 2 == 1):
            spent = timed(lambda epochs=ways[way]: [next(one) for one in epochs], given.steps)
            if number >= WARM:
                times[way].append(spent)
    fused, turn = (middle(times[way]) for way in ways)
    apart = max(
        abs(ours.loss / theirs.loss - 1)
        for one, single in zip(together.copies, singles, strict=True)
        for ours, theirs in zip(one.history, single.history, strict=True)
    )
    print(
        f"| {config.model} | {config.optimizer.batch_size} | {config.threads} | {copies} "
        f"| {fused} | {turn} | {turn.wall / fused.wall:.2f}, {turn.own / fused.own:.2f} "
        f"| {fused.wall / turn.wall * copies:.2f} | {apart:.0e} |",
        flush=True,
    )


def begun(
    kind: type[Trainer],
    config: TrainConfig,
    given: argparse.Namespace,
    lams: tuple[float, ...] = (),
) -> Trainer:
    """A training before its first step, which reports no progress."""
    return kind.begin(
        config,
        ProcessGroup(),
        device=given.device,
        folder=None,
        save_seconds=float("inf"),
        lams=lams,
    )


def timed(call: Callable[[], object], steps: int) -> Seconds:
    """Seconds of a step of a call that takes so many."""
    wall, own = time.perf_counter(), time.process_time()
    call()
    return Seconds((time.perf_counter() - wall) / steps, (time.process_time() - own) / steps)


def middle(found: list[Seconds]) -> Seconds:
    """Medians of both."""
    return Seconds(
        statistics.median(one.wall for one in found), statistics.median(one.own for one in found)
    )


if __name__ == "__main__":
    main()
