"""Early stopping for several objectives at once, as a Ray Tune scheduler.

Ray's own schedulers rank by one metric, and Optuna's pruners refuse several objectives. This one
ranks running trials by non-domination, and stops a trial only if others beat it in every
objective even at the favourable end of its intervals; see `early_stopping.ParetoHalving`. It knows
nothing of training, and works without the rest of fftune:

    scheduler = FrontScheduler(["latency", "error"], rungs=[10, 20, 40], time_attr="epoch")
    search = UntoldSearch(scheduler, space, metric=["latency", "error"], mode=["min", "min"])
    tune.Tuner(trainable, tune_config=tune.TuneConfig(scheduler=scheduler, search_alg=search))

A trial reports all metrics, to be small, with `time_attr`; and with each metric, where it can,
the lower end of its interval as `<metric>_low`. `scheduler.stopped` tells afterwards who was
stopped and when, and `scheduler.saved(last)` how much of `time_attr` that saved.
"""

import warnings
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from optuna.trial import TrialState
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search.optuna import OptunaSearch

from fftune.sweeping.early_stopping import ParetoHalving, RungResult


class ParetoHalvingScheduler(FIFOScheduler):
    """Stops trials that are dominated at a rung, in the order in which they come there.

    Args:
        metrics: to be minimised.
        rungs: values of `time_attr` at which trials are compared. Other results pass.
        eta: the best 1 / eta of a rung, in whole fronts, always goes on.
    """

    def __init__(
        self,
        metrics: Sequence[str],
        *,
        rungs: Sequence[float],
        eta: float = 2.0,
        time_attr: str = "training_iteration",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._metrics, self._rungs, self._time = tuple(metrics), frozenset(rungs), time_attr
        self._ladder = ParetoHalving(eta=eta)
        self.stopped: dict[str, float] = {}
        """By trial id, the rung at which it was stopped."""

    def saved(self, last: float) -> float:
        """How much of `time_attr` the stopped trials did not run, had each ended at `last`."""
        return sum(last - rung for rung in self.stopped.values())

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Compare the trial with all that have come to this rung."""
        time = result.get(self._time)
        if time not in self._rungs or result.get("done"):
            return str(self.CONTINUE)
        if self._ladder.goes_on(trial.trial_id, time, self._mark(result)):
            return str(self.CONTINUE)
        self.stopped[trial.trial_id] = time
        return str(self.STOP)

    def debug_string(self) -> str:
        """For Tune's status line."""
        return f"Fronts at {sorted(self._rungs)}: {len(self.stopped)} trials stopped"

    def _mark(self, result: Mapping[str, Any]) -> RungResult:
        return RungResult(
            values=tuple(float(result[m]) for m in self._metrics),
            optimistic=tuple(float(result.get(f"{m}_low", result[m])) for m in self._metrics),
        )


class PruneAwareOptunaSearch(OptunaSearch):
    """OptunaSearch that is never told a stopped trial's last result as if it were its score.

    Ray hands a search the last result of every trial that ends without an error, so that Optuna
    learns low-fidelity values as final ones. Here stopped trials are told as pruned, valueless;
    and those whose last values are not finite, as failed, where Ray would leave them running.

    Args:
        scheduler: it knows which trials were stopped.
        space, options: as in `OptunaSearch`.
    """

    def __init__(self, scheduler: ParetoHalvingScheduler, space: Any, **options: Any) -> None:
        super().__init__(space, **options)
        self._scheduler = scheduler

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """As in `OptunaSearch`, without its warning that a search which thinks was training."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Define-by-run function")
            suggested: dict[str, Any] | None = super().suggest(trial_id)
        return suggested

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """As in `OptunaSearch`, but for stopped trials and undefined values."""
        if trial_id in self._scheduler.stopped and trial_id not in self._completed_trials:
            study: Any = self._ot_study
            study.tell(self._ot_trials[trial_id], state=TrialState.PRUNED)
            self._completed_trials.add(trial_id)
            return
        if result and not all(isfinite(result[metric]) for metric in self.metric):
            result, error = None, True
        super().on_trial_complete(trial_id, result, error)
