"""What a study would cost, before it runs."""

from dataclasses import dataclass

from fftune.config import SweepConfig, TrainConfig
from fftune.data import load
from fftune.evaluate import probes
from fftune.objectives import crafting


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
    base, planned = config.base, config.planned
    standard = 1 if min(config.lam) == 0 else 0
    plain, robust = _training(base, lam=0), _training(base, lam=1)
    judged = sum(len(load(base.data, split)) for split in ("validation", "test"))
    attacks = [probe.config.steps for probe in probes(config.battery, base.attack.threat)]
    # Each attack's verdict takes a clean and a perturbed forward.
    forwards = judged * sum(steps + 2 for steps in attacks)
    backwards = judged * sum(attacks)
    return Cost(
        trials=planned,
        forwards=standard * plain[0] + (planned - standard) * robust[0] + planned * forwards,
        backwards=standard * plain[1] + (planned - standard) * robust[1] + planned * backwards,
    )


def _training(config: TrainConfig, *, lam: float) -> tuple[int, int]:
    """Forward and backward passes of one training run."""
    seen = config.optimizer.epochs * len(load(config.data, "train"))
    craft = crafting(config.objective, lam)
    if craft is None:
        return seen, seen
    reference = 1 if craft.goal == "stability" else 0
    steps = config.attack.steps
    return seen * (steps + reference + 2), seen * (steps + 2)
