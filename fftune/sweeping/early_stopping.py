"""Which trials others have left behind: successive halving on fronts, with intervals.

Knows nothing of training, Ray or Optuna; `fftune.sweeping.ray_scheduler` puts it into Ray Tune.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from fftune.errors import FftuneError
from fftune.pareto import front_ranks, non_dominated
from fftune.risk import RiskCounts


class StoppedError(FftuneError):
    """A trial was stopped: others are better at everything, even at its best."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"stopped after epoch {epoch}")
        self.epoch = epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class RungResult:
    """Where a trial stood at a rung: its objectives, all to be small, and their best case."""

    values: tuple[float, ...]
    optimistic: tuple[float, ...]
    """The lower ends of the objectives' intervals."""

    @classmethod
    def of(cls, counts: RiskCounts) -> "RungResult":
        """Natural and hypocritical risk with Wilson's intervals.

        A net without mistakes has no hypocritical risk; it is taken for the best possible one.
        """
        rates = (counts.natural_risk, counts.hypocritical_risk)
        return cls(
            values=tuple(rate.value if rate.n else 0.0 for rate in rates),
            optimistic=tuple(rate.interval[0] if rate.n else 0.0 for rate in rates),
        )


@dataclass(slots=True, kw_only=True)
class ParetoHalving:
    """Decides, whenever a trial reaches a rung, whether it goes on. Trials come in any order.

    The marks at the rung are sorted into fronts (non-dominated sorting), and whole fronts are
    kept until they hold 1 / eta of the trials. Of the others a trial is stopped only if a kept
    one dominates its *optimistic* mark: if better in everything than it could be at its best,
    at the 95 % level. A trial that trades differently is on the first front and never stopped.

    >>> ladder = Ladder(eta=2)
    >>> ladder.goes_on("a", 10, Mark(values=(0.2, 0.5), optimistic=(0.17, 0.4)))
    True
    """

    eta: float = 2.0
    marks: dict[int, dict[Hashable, RungResult]] = field(default_factory=dict)
    """By rung and trial; those of stopped trials stay, as what others are measured by."""

    def goes_on(self, trial: Hashable, rung: int, mark: RungResult) -> bool:
        """Note the mark; whether the trial should continue."""
        marks = self.marks.setdefault(rung, {})
        marks[trial] = mark
        return not left_behind(trial, marks, eta=self.eta)


def left_behind(trial: Hashable, marks: Mapping[Hashable, RungResult], *, eta: float) -> bool:
    """Whether a trial is below the cut of its rung, and dominated even at its best."""
    names = list(marks)
    ranks = front_ranks([marks[name].values for name in names])
    kept = _whole_fronts(ranks.tolist(), ceil(len(names) / eta))
    if trial in (survivors := {name for name, keep in zip(names, kept, strict=True) if keep}):
        return False
    best_case = marks[trial].optimistic
    rivals = [marks[name].values for name in survivors]
    return not non_dominated([*rivals, best_case])[-1]


def _whole_fronts(ranks: Sequence[int], wanted: int) -> list[bool]:
    """The best fronts, none of them cut, until they hold so many."""
    limit = sorted(ranks)[wanted - 1]
    return [rank <= limit for rank in ranks]
