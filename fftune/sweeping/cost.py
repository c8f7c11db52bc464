"""Cost of a study of trainings, before it runs: passes of examples, and hours."""

from dataclasses import dataclass, replace

from fftune.config import Device, SweepConfig, TrainConfig, with_settings
from fftune.config.model import VARIANTS
from fftune.data.catalog import opened_once, place_framed
from fftune.evaluation.batteries import attacks_of
from fftune.evaluation.job import block_size_of
from fftune.hardware import CardName
from fftune.models import device_of
from fftune.sweeping.samplers.spec import planned, sampler_spec
from fftune.training.cost import Work, work
from fftune.training.hours import Job, told


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Number of trials, and of passes of single examples through the model."""

    trials: int
    epochs: int
    """Epochs of all trials and seeds together."""
    forwards: int
    """Forward passes of one example."""
    backwards: int
    """Backward passes of one example."""

    def __str__(self) -> str:
        return (
            f"{self.trials} trials, {self.epochs:,} epochs, {self.forwards:,} forward and "
            f"{self.backwards:,} backward passes of one example"
        )


def cost(config: SweepConfig) -> Cost:
    """Count the passes of a study: at lambda = 0 nothing is perturbed, else at every step."""
    bases = _bases(config)
    found = _jobs(config, bases)
    every = sum((job.training + job.evaluation for job in found), start=Work()).passes
    return Cost(
        trials=planned(config),
        epochs=sum(base.optimizer.epochs for base in bases) * config.seeds,
        forwards=every.forwards,
        backwards=every.backwards,
    )


def describe(config: SweepConfig) -> str:
    """Describe what a study would cost in passes, and the blocks that its nets are attacked in."""
    battery = config.battery
    where: Device = "cpu" if device_of("auto") == "cpu" else "cuda"
    size = block_size_of(battery, where if battery.device == "auto" else battery.device)
    return f"{cost(config)}; blocks of {size:,} examples"


def describe_hours(config: SweepConfig, on: CardName | None, count: int | None) -> str:
    """Describe how long a study would take; see `fftune.training.hours.told`.

    Trials are packed on the cards longest first. Those that share a card share its speed.
    """
    return told(_jobs(config, _bases(config)), config.base, on, count)


def _jobs(config: SweepConfig, bases: list[TrainConfig]) -> list[Job]:
    """Passes of each trial, with all its seeds."""
    with opened_once():
        judged = _evaluation(config) * config.seeds
        known: dict[TrainConfig, Work] = {}
        for base in bases:
            if base not in known:
                known[base] = work(base) * config.seeds
    if sampler_spec(config).trainings:
        every = sum((known[base] for base in bases), start=Work())
        return [Job(training=every, evaluation=judged * planned(config))]
    return [Job(training=known[base], evaluation=judged) for base in bases]


def _evaluation(config: SweepConfig) -> Work:
    """Passes that judge the nets of one training: each attack's, and the predictions, clean and
    perturbed.
    """
    base = config.base
    sizes = [len(place_framed(base.data, split)[1]) for split in ("validation", "test")]
    most = config.battery.examples
    examples = sum(size if most is None else min(size, most) for size in sizes)
    steps = [attack.config.steps for attack in attacks_of(config.battery, base.attack.threat)]
    nets = 1 + len(VARIANTS) if config.variants else 1
    return Work(forwards=2 * len(steps), crafts=sum(steps)) * (examples * nets)


def _bases(config: SweepConfig) -> list[TrainConfig]:
    """Trainings as far as they are known: a search takes any lambda but 0."""
    spec = sampler_spec(config)
    if spec.trainings:
        return list(spec.trainings(config))
    if spec.exhaustive:
        return [with_settings(config.base, settings) for settings in spec.queue(config)]
    robust = replace(config.base, lam=1.0) if _searches_lambda(config) else config.base
    first = [replace(config.base, lam=0.0) if _tries_zero(config) else robust]
    return first + [robust] * (planned(config) - 1)


def _searches_lambda(config: SweepConfig) -> bool:
    return any(dimension.path == "lam" for dimension in config.dimensions)


def _tries_zero(config: SweepConfig) -> bool:
    """Tell if the search tries lambda = 0 once: as an end of its range."""
    lam = next((d for d in config.dimensions if d.path == "lam"), None)
    return lam is not None and len(config.dimensions) == 1 and lam.low == 0 and not config.margin
