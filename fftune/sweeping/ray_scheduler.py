"""Early stopping for several objectives at once, as a Ray Tune scheduler.

Ray's own schedulers rank by one metric, and Optuna's pruners refuse several objectives. This one
ranks running trials by non-domination, and stops a trial only if others beat it in every
objective even at the favourable end of its intervals; see `early_stopping.ParetoHalving`. As far as
we know it is the first on Ray Tune and with Optuna. MOASHA (Schmucker et al. 2021), in Syne Tune,
is the earlier rule, and the other one here. It serves any Tune experiment:

    metrics = ["latency", "error"]
    scheduler = ParetoHalvingScheduler(metrics, rungs=[10, 20, 40], time_attr="epoch")
    search = PruneAwareOptunaSearch(scheduler, space, metric=metrics, mode=["min", "min"])
    tune.Tuner(trainable, tune_config=tune.TuneConfig(scheduler=scheduler, search_alg=search))

A trial reports all metrics, which are minimized, with `time_attr`; and with each metric, where it
can, the lower end of its interval as `<metric>_low`. Afterwards `scheduler.stopped` holds the
stopped trials with their rungs, and `scheduler.saved(last)` the `time_attr` that this saved.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

from optuna.trial import TrialState
from ray.tune import PlacementGroupFactory
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search.optuna import OptunaSearch

from fftune.config.literals import StoppingRule
from fftune.sweeping.early_stopping import ParetoHalving, RungResult

MORE_GPUS = "more_gpus"
"""Key of a report: GPUs with which the trial is to start again."""


class ParetoHalvingScheduler(FIFOScheduler):
    """Tune scheduler that stops trials dominated at a rung, in the order in which they reach it.

    Args:
        metrics: names of the metrics, all minimized.
        rungs: values of `time_attr` at which trials are compared; other results pass.
        eta: reduction factor; the best 1 / eta of a rung always continues.
        rule: which others continue as well, if any; see `ParetoHalving`.
    """

    def __init__(
        self,
        metrics: Sequence[str],
        *,
        rungs: Sequence[float],
        eta: float = 2.0,
        rule: StoppingRule = "fronts",
        time_attr: str = "training_iteration",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._metrics, self._rungs, self._time = tuple(metrics), frozenset(rungs), time_attr
        self._halving = ParetoHalving(eta=eta, rule=rule)
        self.stopped: dict[str, float] = {}
        """Rung at which a trial was stopped, by trial id."""

    def saved(self, last: float) -> float:
        """Amount of `time_attr` that stopped trials did not run, had each ended at `last`."""
        return sum(last - rung for rung in self.stopped.values())

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Compare the trial with all that have reached this rung; return Tune's decision."""
        time = result.get(self._time)
        if time not in self._rungs or result.get("done"):
            return str(self.CONTINUE)
        if self._halving.goes_on(trial.trial_id, time, self._rung_result(result)):
            return str(self.CONTINUE)
        self.stopped[trial.trial_id] = time
        return str(self.STOP)

    def debug_string(self) -> str:
        """Describe the scheduler in Tune's status line."""
        return f"Rungs at {sorted(self._rungs)}: {len(self.stopped)} trials stopped"

    def _rung_result(self, result: Mapping[str, Any]) -> RungResult:
        return RungResult(
            values=tuple(float(result[m]) for m in self._metrics),
            optimistic=tuple(float(result.get(f"{m}_low", result[m])) for m in self._metrics),
        )


class CardShareScheduler(ParetoHalvingScheduler):
    """Scheduler that also starts a trial again with more GPUs, where it reports that it needs them.

    The trial reports `MORE_GPUS`, beside its metrics, which may be undefined, and waits. It then
    starts once more from its beginning, as the same trial of the search.
    """

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Pause a trial that asks for GPUs, with its new needs; it runs when there is room."""
        gpus = result.get(MORE_GPUS)
        if gpus is None:
            return super().on_trial_result(tune_controller, trial, result)
        needs = {**trial.placement_group_factory.required_resources, "GPU": gpus}
        tune_controller.pause_trial(trial, should_checkpoint=False)
        trial.update_resources(PlacementGroupFactory([needs]))
        return str(self.NOOP)


class PruneAwareOptunaSearch(OptunaSearch):
    """OptunaSearch that records stopped trials as pruned, without objectives.

    Ray passes a search the last result of every trial that ends without an error, so that Optuna
    takes low-fidelity values for final ones. Here a trial whose last values are not finite is
    recorded as failed, where Ray would leave it running.

    Args:
        scheduler: scheduler of the same experiment, which lists the stopped trials.
        bounds: constraints of the search by their names: functions of a trial's last result that
            return by how much it exceeds a bound; 0 or less keeps it.
        space, options: see `OptunaSearch`.
    """

    def __init__(
        self,
        scheduler: ParetoHalvingScheduler,
        space: Any,
        *,
        bounds: Mapping[str, Callable[[Mapping[str, Any]], float]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(space, **options)
        self._scheduler, self._bounds = scheduler, bounds or {}

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Suggest parameters, without the warning of slow define-by-run functions."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Define-by-run function")
            suggested: dict[str, Any] | None = super().suggest(trial_id)
        return suggested

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: a study is resumed from Optuna's storage.

        Ray would pickle the search into the study's folder, and with it the storage's address, in
        which a password may be.
        """

    def __getstate__(self) -> dict[str, Any]:
        """Nothing of it either where Ray pickles the search with the settings of the run."""
        return {}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Record how a trial ended: pruned if stopped, failed if its values are undefined."""
        if trial_id in self._scheduler.stopped and trial_id not in self._completed_trials:
            study: Any = self._ot_study
            study.tell(self._ot_trials[trial_id], state=TrialState.PRUNED)
            self._completed_trials.add(trial_id)
            return
        excess = {name: of(result) for name, of in self._bounds.items()} if result else {}
        values = [result[metric] for metric in self.metric] if result else []
        if not all(map(isfinite, (*values, *excess.values()))):
            result, error, excess = None, True, {}
        for name, value in excess.items():
            self._ot_trials[trial_id].set_constraint(name, value)
        super().on_trial_complete(trial_id, result, error)
