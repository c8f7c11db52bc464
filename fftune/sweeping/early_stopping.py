"""Asynchronous successive halving for several objectives, by either of two rules.

Independent of training, Ray and Optuna; `fftune.sweeping.ray_scheduler` puts it into Ray Tune.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from fftune.config.literals import StoppingRule
from fftune.errors import FftuneError
from fftune.pareto import front_order, front_ranks, non_dominated
from fftune.risk import RiskCounts


class StoppedError(FftuneError):
    """Stops a trial: others are better in every objective, even at its best case."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"stopped after epoch {epoch}")
        self.epoch = epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class RungResult:
    """Objectives of a trial at a rung, all minimized, and their best case."""

    values: tuple[float, ...]
    optimistic: tuple[float, ...]
    """Lower ends of the objectives' intervals."""

    @classmethod
    def of(cls, counts: RiskCounts) -> "RungResult":
        """Take natural and hypocritical risk with Wilson's intervals from counts.

        The hypocritical risk of a model without mistakes is undefined; it counts as 0.
        """
        rates = (counts.natural_risk, counts.hypocritical_risk)
        return cls(
            values=tuple(rate.value if rate.n else 0.0 for rate in rates),
            optimistic=tuple(rate.interval[0] if rate.n else 0.0 for rate in rates),
        )


@dataclass(slots=True, kw_only=True)
class ParetoHalving:
    """Decide at each rung if a trial continues. Trials may come in any order.

    By `fronts` the results at the rung are sorted into fronts (non-dominated sorting), and whole
    fronts are kept until they hold 1 / eta of the trials. Of the others a trial is stopped only if
    a kept one dominates its *optimistic* result: if it is better in every objective than the trial
    is at its best, at the 95 % level. A trial that trades differently is on the first front and
    never stopped.

    By `moasha` exactly the best 1 / eta of the trials continue, in the order of `front_order`
    (Schmucker et al. 2021; in Syne Tune). A front is cut where it holds more, and intervals do
    not count.

    >>> halving = ParetoHalving(eta=2)
    >>> halving.goes_on("a", 10, RungResult(values=(0.2, 0.5), optimistic=(0.17, 0.4)))
    True
    """

    eta: float = 2.0
    rule: StoppingRule = "fronts"
    rungs: dict[int, dict[Hashable, RungResult]] = field(default_factory=dict)
    """Results by rung and trial; those of stopped trials stay for comparison."""

    def goes_on(self, trial: Hashable, rung: int, result: RungResult) -> bool:
        """Record the result of a trial at a rung; return True if the trial should continue."""
        results = self.rungs.setdefault(rung, {})
        results[trial] = result
        return not RULES[self.rule](trial, results, eta=self.eta)


def is_dominated(trial: Hashable, results: Mapping[Hashable, RungResult], *, eta: float) -> bool:
    """Tell if a trial is below the cut of its rung, and dominated even at its best."""
    names = list(results)
    ranks = front_ranks([results[name].values for name in names])
    kept = _whole_fronts(ranks.tolist(), ceil(len(names) / eta))
    if trial in (survivors := {name for name, keep in zip(names, kept, strict=True) if keep}):
        return False
    best_case = results[trial].optimistic
    rivals = [results[name].values for name in survivors]
    return not non_dominated([*rivals, best_case])[-1]


def is_outranked(trial: Hashable, results: Mapping[Hashable, RungResult], *, eta: float) -> bool:
    """Tell if a trial is not among the best 1 / eta of its rung, rounded up, in MOASHA's order."""
    names = list(results)
    order = front_order([results[name].values for name in names])
    return names.index(trial) not in order[: ceil(len(names) / eta)]


RULES: dict[StoppingRule, Callable[..., bool]] = {"fronts": is_dominated, "moasha": is_outranked}
"""Functions that tell if a trial is to stop, given it, the results of its rung, and eta."""


def _whole_fronts(ranks: Sequence[int], wanted: int) -> list[bool]:
    """Mark the best fronts, none of them cut, until they hold the wanted number of trials."""
    limit = sorted(ranks)[wanted - 1]
    return [rank <= limit for rank in ranks]
