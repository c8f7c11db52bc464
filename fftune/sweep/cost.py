"""What a study would cost, before it runs."""

from dataclasses import dataclass, replace

from fftune.config import SweepConfig
from fftune.data import load
from fftune.evaluate import probes
from fftune.train.cost import cost as training_cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Trials, and passes of single examples through the net."""

    trials: int
    forwards: int
    backwards: int

    def __str__(self) -> str:
        return (
            f"{self.trials} trials, {self.forwards:,} forward and {self.backwards:,} backward "
            "passes of one example"
        )


def cost(config: SweepConfig) -> Cost:
    """The whole study: a trial at lambda = 0 crafts nothing, all others do at every step."""
    base, planned = config.base, config.planned * config.seeds
    standard = config.seeds if _tries_zero(config) else 0
    plain, robust = (training_cost(replace(base, lam=lam)) for lam in (0.0, 1.0))
    judged = sum(len(load(base.data, split)) for split in ("validation", "test"))
    attacks = [probe.config.steps for probe in probes(config.battery, base.attack.threat)]
    # Each attack's verdict takes a clean and a perturbed forward.
    forwards = judged * sum(steps + 2 for steps in attacks)
    backwards = judged * sum(attacks)
    trained = plain * standard + robust * (planned - standard)
    return Cost(
        trials=config.planned,
        forwards=trained.forwards + planned * forwards,
        backwards=trained.backwards + planned * backwards,
    )


def _tries_zero(config: SweepConfig) -> bool:
    """Whether exactly one point has lambda = 0: an end of the range, or in the grid."""
    lam = next((d for d in config.dimensions if d.path == "lam"), None)
    if config.rule == "grid":
        return any(settings.get("lam") == 0 for settings in config.grid)
    return lam is not None and len(config.dimensions) == 1 and lam.low == 0 and not config.margin
