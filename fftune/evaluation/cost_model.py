"""What tasks cost, so that the longest begin first and the end can be told beforehand."""

from collections.abc import Iterable

from fftune.config import AttackConfig
from fftune.evaluation.batteries import Attack
from fftune.evaluation.job import BlockTask

BACKWARD = 2
"""Forward passes that one backward pass costs."""


class CostModel:
    """Seconds of a task: as its probe's other tasks took, or guessed from its passes."""

    def __init__(self) -> None:
        self._seconds: dict[Attack, float] = {}
        self._examples: dict[Attack, int] = {}

    def measured(self, task: BlockTask, seconds: float) -> None:
        """Learn what a task took."""
        attack, examples = task.attack, max(len(task.rows), 1)
        self._seconds[attack] = self._seconds.get(attack, 0.0) + seconds
        self._examples[attack] = self._examples.get(attack, 0) + examples

    def of(self, task: BlockTask) -> float:
        """Seconds; in units of a forward pass while nothing was measured yet."""
        attack = task.attack
        if attack in self._seconds:
            return len(task.rows) * self._seconds[attack] / self._examples[attack]
        return len(task.rows) * passes(attack) * self._pace

    def left(self, tasks: Iterable[BlockTask]) -> float:
        """Seconds that these tasks would take one worker; nan while nothing was measured."""
        return sum(map(self.of, tasks)) if self._seconds else float("nan")

    @property
    def _pace(self) -> float:
        """Seconds a guessed pass, over all that was measured."""
        guessed = sum(passes(attack) * n for attack, n in self._examples.items())
        return sum(self._seconds.values()) / guessed if guessed else 1.0


def passes(attack: Attack) -> float:
    """Forward passes an example that a probe would take if it never succeeded early, roughly."""
    through = attack.through
    behind = 1 if through is None else (through.defense.steps + 1) * max(through.draws, 1)
    return 1 + behind * sum(_passes(part.config) for part in attack.stages)


def _passes(config: AttackConfig) -> float:
    targets, step = max(config.targets, 1), 1 + BACKWARD
    match config.search:
        case "square" | "rays":
            return config.steps
        case "deepfool":
            return config.steps * (1 + BACKWARD * (targets + 1)) / 10  # it ends at the boundary
        case "fab":
            return config.steps * targets * (2 + 2 * BACKWARD)
        case "apgd":
            return config.steps * targets * step
        case "pgd_hedged":
            return config.steps * 2 * step
    return config.steps * max(config.restarts, 1) * step
