"""What a training would cost, before it runs."""

from dataclasses import dataclass

from fftune.config import TrainConfig
from fftune.data.catalog import place_framed
from fftune.objectives import crafting
from fftune.training.phases import phases_of, spec_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """Passes of single examples through the net."""

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
    """Of a whole run."""
    seen = 0
    for phase in phases_of(config):
        seen += phase.epochs * len(place_framed(spec_of(config, phase), "train")[1])
    return per_example(config) * (seen if config.optimizer.epochs else 0)


def per_example(config: TrainConfig) -> Passes:
    """Of one example in one epoch."""
    craft = crafting(config.objective, config.lam)
    if craft is None:
        return Passes(forwards=1, backwards=1)
    reference = 1 if craft.goal == "stability" else 0
    steps, trained = config.attack.steps, 2 if craft.joint else 1
    return Passes(forwards=steps + reference + trained, backwards=steps + trained)
