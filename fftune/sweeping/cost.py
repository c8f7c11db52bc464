"""What a study would cost, before it runs."""

from dataclasses import dataclass, replace
from math import ceil

from fftune.config import HedgeSweep, SweepConfig
from fftune.data.catalog import place_framed
from fftune.evaluation.batteries import attacks_of
from fftune.training.cost import Passes
from fftune.training.cost import cost as training_cost
from fftune.training.throughput import Throughput


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Trials, and passes of single examples through the net."""

    trials: int
    epochs: int
    """Of all trials and seeds together."""
    forwards: int
    backwards: int

    def __str__(self) -> str:
        return (
            f"{self.trials} trials, {self.epochs:,} epochs, {self.forwards:,} forward and "
            f"{self.backwards:,} backward passes of one example"
        )

    def hours(self, rates: Throughput, at_once: int) -> float:
        """With so many trials at once, each as fast as one was alone; loading not counted.

        The last round may be short of trials: nine trials on four devices take three rounds.
        """
        seconds = self.forwards * rates.forward + self.backwards * rates.backward
        return seconds / 3600 * ceil(self.trials / at_once) / self.trials


def hours(found: Cost, rates: Throughput) -> str:
    """How long it takes on 1 device and more, up to one a trial."""
    counts = sorted({1, 2, 4, 8, found.trials})
    what = "GPU" if rates.device == "cuda" else "worker"
    told = [
        f"{n} {what}{'s' if n > 1 else ''} {found.hours(rates, n):.2g} h"
        for n in counts
        if n <= found.trials
    ]
    return (
        f"about {', '.join(told)}, at {1e6 * rates.forward:.3g} us a forward and "
        f"{1e6 * rates.backward:.3g} us a backward pass, measured here on {rates.device}"
    )


def cost(config: SweepConfig) -> Cost:
    """The whole study: a trial at lambda = 0 crafts nothing, all others do at every step."""
    base, planned = config.base, config.planned * config.seeds
    standard = config.seeds if _tries_zero(config) else 0
    plain, robust = (training_cost(replace(base, lam=lam)) for lam in (0.0, 1.0))
    judged = sum(len(place_framed(base.data, split)[1]) for split in ("validation", "test"))
    attacks = [attack.config.steps for attack in attacks_of(config.battery, base.attack.threat)]
    # Each attack's verdict takes a clean and a perturbed forward.
    forwards = judged * sum(steps + 2 for steps in attacks)
    backwards = judged * sum(attacks)
    trained = plain * standard + robust * (planned - standard)
    return Cost(
        trials=config.planned,
        epochs=planned * base.optimizer.epochs,
        forwards=trained.forwards + planned * forwards,
        backwards=trained.backwards + planned * backwards,
    )


def hedge_cost(config: HedgeSweep) -> str:
    """A hedge sweep, whose every trial takes at most the greatest K: crafting, hedging, knowing."""
    base, planned = config.base, config.planned
    found = {split: len(place_framed(base.data, split)[1]) for split in ("validation", "test")}
    test = min(found["test"], base.examples or found["test"])
    both = test + min(found["validation"], base.examples or test)
    few, most = min(base.aware, test), _most_steps(config)
    once = Passes(forwards=1, backwards=1) * (2 * both * base.attack.steps)
    hedged = Passes(forwards=most + 1, backwards=most) * 3
    aware = Passes(forwards=most + 1, backwards=most + 1) * (2 * base.attack.steps)
    total = once + (hedged * both + (aware + hedged) * few) * planned
    return f"{planned} trials, at most {total}"


def _most_steps(config: HedgeSweep) -> int:
    tried = [e for d in config.dimensions if d.path == "steps" for e in d.ends]
    return int(max(tried, default=config.base.steps))


def _tries_zero(config: SweepConfig) -> bool:
    """Whether exactly one point has lambda = 0: an end of the range, or in the grid."""
    lam = next((d for d in config.dimensions if d.path == "lam"), None)
    if config.rule == "grid":
        return any(settings.get("lam") == 0 for settings in config.grid)
    return lam is not None and len(config.dimensions) == 1 and lam.low == 0 and not config.margin
