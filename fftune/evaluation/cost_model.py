"""Cost of block tasks: the longest begin first, and the time left is estimated."""

from collections.abc import Iterable

from fftune.attacks import attack_spec
from fftune.evaluation.batteries import Attack
from fftune.evaluation.job import BlockTask


class CostModel:
    """Seconds of a task: measured on its attack's other tasks, or estimated from its passes."""

    def __init__(self) -> None:
        self._seconds: dict[Attack, float] = {}
        self._examples: dict[Attack, int] = {}

    def measured(self, task: BlockTask, seconds: float) -> None:
        """Record the seconds of a finished task."""
        attack, examples = task.attack, max(len(task.rows), 1)
        self._seconds[attack] = self._seconds.get(attack, 0.0) + seconds
        self._examples[attack] = self._examples.get(attack, 0) + examples

    def of(self, task: BlockTask) -> float:
        """Estimate a task's seconds; in units of a forward pass while nothing was measured yet."""
        attack = task.attack
        if attack in self._seconds:
            return len(task.rows) * self._seconds[attack] / self._examples[attack]
        return len(task.rows) * passes(attack) * self._pace

    def left(self, tasks: Iterable[BlockTask]) -> float:
        """Seconds that these tasks would take one worker; nan while nothing was measured."""
        return sum(map(self.of, tasks)) if self._seconds else float("nan")

    @property
    def _pace(self) -> float:
        """Seconds for each estimated pass, over all that was measured."""
        estimated = sum(passes(attack) * n for attack, n in self._examples.items())
        return sum(self._seconds.values()) / estimated if estimated else 1.0


def passes(attack: Attack) -> float:
    """Forward passes of an example if the attack never succeeds early, roughly."""
    access = attack.access
    behind = 1 if access is None else (access.defense.passes + 1) * max(access.draws, 1)
    return 1 + behind * sum(
        attack_spec(stage.config.search).cost(stage.config) for stage in attack.stages
    )
