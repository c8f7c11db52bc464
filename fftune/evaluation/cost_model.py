"""Seconds that block tasks take: measured, or guessed from the passes of their attacks."""

from collections.abc import Iterable

from fftune.attacks import attack_spec
from fftune.evaluation.batteries import Attack
from fftune.evaluation.defended import DefenseSet
from fftune.evaluation.job import BlockTask
from fftune.evaluation.tiers import AttackStage


class CostModel:
    """Seconds of a task: measured on its attack's others, or guessed from all passes it takes."""

    def __init__(self, defense_set: DefenseSet | None = None) -> None:
        self._defense_set = defense_set
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
        return len(task.rows) * self._passes(attack) * self._pace

    def left(self, tasks: Iterable[BlockTask]) -> float:
        """Seconds that these tasks would take one worker; nan while nothing was measured."""
        return sum(map(self.of, tasks)) if self._seconds else float("nan")

    @property
    def _pace(self) -> float:
        """Seconds for each estimated pass, over all that was measured."""
        estimated = sum(self._passes(attack) * n for attack, n in self._examples.items())
        return sum(self._seconds.values()) / estimated if estimated else 1.0

    def _passes(self, attack: Attack) -> float:
        behind = self._defense_set
        return passes(attack) + (0 if behind is None else behind.passes(attack.name))


def passes(attack: Attack) -> float:
    """Forward passes of an example if the attack never succeeds early, roughly."""
    return 1 + sum(map(_stage_passes, attack.stages)) + _choice_passes(attack)


def _stage_passes(stage: AttackStage) -> float:
    access, cost = stage.access, attack_spec(stage.config.search).cost(stage.config)
    return cost * (1 if access is None else (access.searched.passes + 1) * max(access.draws, 1))


def _choice_passes(attack: Attack) -> float:
    choice = attack.choice
    return 0.0 if choice is None else len(attack.stages) * choice.passes
