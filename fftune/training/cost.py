"""Passes through the net: those that a training would need, and those that it has done."""

from dataclasses import dataclass

from fftune.config import TrainConfig
from fftune.data.catalog import opened_once, place_framed
from fftune.metrics import Metrics
from fftune.models import device_of
from fftune.objectives import objective_of
from fftune.training.history import EpochRecord
from fftune.training.phases import phases_of, spec_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """Numbers of forward and backward passes of single examples through the net."""

    forwards: int
    backwards: int

    def __str__(self) -> str:
        return f"{self.forwards:,} forward and {self.backwards:,} backward passes of one example"

    def __add__(self, other: "Passes") -> "Passes":
        return Passes(
            forwards=self.forwards + other.forwards, backwards=self.backwards + other.backwards
        )

    def __mul__(self, times: int) -> "Passes":
        return Passes(forwards=self.forwards * times, backwards=self.backwards * times)


def cost(config: TrainConfig) -> Passes:
    """The passes of a whole run.

    Raises:
        DataError: the data are missing.
    """
    seen = 0
    with opened_once():
        for phase in phases_of(config):
            seen += phase.epochs * len(place_framed(spec_of(config, phase), "train").rows)
    return per_example(config) * (seen if config.optimizer.epochs else 0)


def per_example(config: TrainConfig) -> Passes:
    """The passes of one example in one epoch."""
    craft = objective_of(config).crafting
    if craft is None:
        return Passes(forwards=1, backwards=1)
    reference = 1 if craft.goal == "stability" else 0
    steps, trained = config.attack.steps, 2 if craft.joint else 1
    return Passes(forwards=steps + reference + trained, backwards=steps + trained)


def count_epoch(metrics: Metrics, epoch: EpochRecord, config: TrainConfig) -> None:
    """Add an epoch's examples and passes to the metrics of the cluster."""
    import torch

    examples = round(epoch.examples_per_second * epoch.seconds)
    passes = per_example(config) * examples
    metrics.epoch(
        examples=examples,
        forwards=passes.forwards,
        backwards=passes.backwards,
        loss=epoch.loss,
        accuracy=epoch.accuracy,
    )
    if device_of(config.device) == "cuda":
        metrics.gpu_memory(torch.cuda.max_memory_allocated())
