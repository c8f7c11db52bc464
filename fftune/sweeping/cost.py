"""Cost of a study of trainings, before it runs: passes of examples, and hours."""

from dataclasses import dataclass, replace
from math import ceil

from fftune.config import SweepConfig
from fftune.data.catalog import place_framed
from fftune.evaluation.batteries import attacks_of
from fftune.sweeping.samplers.spec import planned, sampler_spec
from fftune.training.cost import cost as training_cost
from fftune.training.throughput import Throughput, measure


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

    def hours(self, rates: Throughput, at_once: int) -> float:
        """Estimate the hours with `at_once` trials at a time, each as fast as one alone.

        Loading is not counted. The last round may be short of trials: nine trials on four devices
        take three rounds.
        """
        seconds = self.forwards * rates.forward + self.backwards * rates.backward
        return seconds / 3600 * ceil(self.trials / at_once) / self.trials


def hours(found: Cost, rates: Throughput) -> str:
    """Describe the hours on 1, 2, 4, 8 devices and on one a trial."""
    counts = sorted({1, 2, 4, 8, found.trials})
    what = "GPU" if rates.device == "cuda" else "worker"
    each = [
        f"{n} {what}{'s' if n > 1 else ''} {found.hours(rates, n):.2g} h"
        for n in counts
        if n <= found.trials
    ]
    return (
        f"about {', '.join(each)}, at {1e6 * rates.forward:.3g} us a forward and "
        f"{1e6 * rates.backward:.3g} us a backward pass, measured here on {rates.device}"
    )


def cost(config: SweepConfig) -> Cost:
    """Count the passes of a study: at lambda = 0 nothing is perturbed, else at every step."""
    base, trials = config.base, planned(config)
    trainings = trials * config.seeds
    standard = config.seeds if _tries_zero(config) else 0
    plain, robust = (training_cost(replace(base, lam=lam)) for lam in (0.0, 1.0))
    examples = sum(len(place_framed(base.data, split)[1]) for split in ("validation", "test"))
    attacks = [attack.config.steps for attack in attacks_of(config.battery, base.attack.threat)]
    # The predictions of each attack take a clean and a perturbed forward pass.
    forwards = examples * sum(steps + 2 for steps in attacks)
    backwards = examples * sum(attacks)
    trained = plain * standard + robust * (trainings - standard)
    return Cost(
        trials=trials,
        epochs=trainings * base.optimizer.epochs,
        forwards=trained.forwards + trainings * forwards,
        backwards=trained.backwards + trainings * backwards,
    )


def describe(config: SweepConfig) -> str:
    """Describe what a study would cost, and for how long on devices like the one here."""
    found = cost(config)
    return f"{found}\n{hours(found, measure(config.base))}"


def _tries_zero(config: SweepConfig) -> bool:
    """Tell if exactly one trial has lambda = 0: an end of the range, or in the grid."""
    if sampler_spec(config).exhaustive:
        return any(settings.get("lam") == 0 for settings in config.grid)
    lam = next((d for d in config.dimensions if d.path == "lam"), None)
    return lam is not None and len(config.dimensions) == 1 and lam.low == 0 and not config.margin
