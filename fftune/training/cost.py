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


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Numbers of passes of single examples, by what is asked of each."""

    forwards: int = 0
    """Forward passes alone."""
    crafts: int = 0
    """Forward passes with the gradient of the image, on a frozen net."""
    joints: int = 0
    """Forward passes with the gradient of the weights."""

    def __add__(self, other: "Work") -> "Work":
        return Work(
            forwards=self.forwards + other.forwards,
            crafts=self.crafts + other.crafts,
            joints=self.joints + other.joints,
        )

    def __mul__(self, times: int) -> "Work":
        return Work(
            forwards=self.forwards * times, crafts=self.crafts * times, joints=self.joints * times
        )

    @property
    def passes(self) -> Passes:
        """Forward and backward passes of all kinds together."""
        backwards = self.crafts + self.joints
        return Passes(forwards=self.forwards + backwards, backwards=backwards)


def cost(config: TrainConfig) -> Passes:
    """The passes of a whole run.

    Raises:
        DataError: the data are missing.
    """
    return work(config).passes


def work(config: TrainConfig) -> Work:
    """The passes of a whole run, by their kinds.

    Raises:
        DataError: the data are missing.
    """
    seen = sum(count * size for count, size in _batches(config))
    perturbed = perturbed_examples(config)
    return per_example(config) * perturbed + Work(joints=1) * (seen - perturbed)


def perturbed_examples(config: TrainConfig) -> int:
    """Examples that a whole run perturbs, each time that it does; of a net for all lambdas, those
    whose lambda is not 0.

    Raises:
        DataError: the data are missing.
    """
    objective = objective_of(config)
    if objective.crafting is None:
        return 0
    clean = config.draws.clean_rows if objective.all_lambdas else lambda _size: 0
    return sum(count * (size - clean(size)) for count, size in _batches(config))


def _batches(config: TrainConfig) -> list[tuple[int, int]]:
    """Numbers of batches of a run, and their sizes."""
    found = []
    with opened_once():
        for phase in phases_of(config) if config.optimizer.epochs else ():
            rows = len(place_framed(spec_of(config, phase), "train").rows)
            whole, rest = divmod(rows, phase.batch_size)
            found += [(phase.epochs * whole, phase.batch_size), (phase.epochs, rest)]
    return found


def per_example(config: TrainConfig) -> Work:
    """The passes of one example in one epoch."""
    craft = objective_of(config).crafting
    if craft is None:
        return Work(joints=1)
    reference = 1 if craft.goal == "stability" else 0
    return Work(forwards=reference, crafts=config.attack.steps, joints=2 if craft.joint else 1)


def count_epoch(metrics: Metrics, epoch: EpochRecord, config: TrainConfig) -> None:
    """Add an epoch's examples and passes to the metrics of the cluster."""
    import torch

    examples = round(epoch.examples_per_second * epoch.seconds)
    passes = per_example(config).passes * examples
    metrics.epoch(
        examples=examples,
        forwards=passes.forwards,
        backwards=passes.backwards,
        loss=epoch.loss,
        accuracy=epoch.accuracy,
    )
    if device_of(config.device) == "cuda":
        metrics.gpu_memory(torch.cuda.max_memory_allocated())
