"""The door to Ray Tune: several trials at once, on this machine or on a cluster."""

import logging
from functools import partial
from typing import Any

from fftune.cluster import fits  # before Ray, whose start it sets

# isort: split
import optuna
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from fftune.config import Resources, SweepConfig
from fftune.sweep.front import Failure
from fftune.sweep.progress import Progress
from fftune.sweep.search import OBJECTIVES, objectives, storage, suggest
from fftune.sweep.trial import TrialRunner

log = logging.getLogger(__name__)


def run_on_ray(
    runner: TrialRunner,
    search: optuna.Study,
    progress: Progress,
    resources: Resources,
) -> None:
    """Run what remains of the study as one Tune run, on the cluster that is connected.

    Raises:
        ClusterError: the cluster can never run one trial.
    """
    config = runner.study.config
    needs, concurrency = per_trial(config, resources), at_once(config, resources)
    log.info("%d trials, %d at once, %s each", runner.study.remaining, concurrency, needs)
    # A trial whose workers train elsewhere must not take their place.
    own = needs if config.base.workers == 1 else {"CPU": 0.0, "memory": 1.0}
    tune.Tuner(
        tune.with_resources(tune.with_parameters(_trial, runner=runner), own),
        tune_config=tune.TuneConfig(
            search_alg=_search_alg(runner, search),
            num_samples=runner.study.remaining,
            max_concurrent_trials=concurrency,
            reuse_actors=True,  # a fresh actor imports torch for seconds
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(runner.study.path),
            callbacks=[_Reporter(runner, progress)],
            verbose=0,
        ),
    ).fit()


def _search_alg(runner: TrialRunner, search: optuna.Study) -> OptunaSearch:
    """Ray's own door to Optuna, on the study's journal; each trial learns its number."""
    config = runner.study.config
    return OptunaSearch(
        partial(_space, config=config),
        metric=list(OBJECTIVES),
        mode=["min"] * len(OBJECTIVES),
        sampler=search.sampler,
        study_name=config.name,
        storage=storage(runner.study),
    )


def _space(trial: Any, config: SweepConfig) -> dict[str, int]:
    """Draw lambda; the number comes along as a constant."""
    suggest(trial, config)
    return {"number": trial.number}


def _trial(parameters: dict[str, Any], runner: TrialRunner) -> None:
    """What a worker does: one trial, then one report."""
    point = runner(parameters["number"], parameters["lam"])
    tune.report(dict(zip(OBJECTIVES, objectives(point, runner.study.config), strict=True)))


class _Reporter(tune.Callback):
    """One line an ended trial; a record for those that died without leaving their own."""

    def __init__(self, runner: TrialRunner, progress: Progress) -> None:
        self._study, self._progress = runner.study, progress

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        point = self._study.point(trial.config["number"])
        assert point is not None  # a trial reports after its result is on disk
        self._progress.finished(point)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number, lam = trial.config["number"], trial.config["lam"]
        self._study.fail(Failure(trial=number, lam=lam, reason="its worker died"))
        self._progress.failed(self._study.failure(number))


def at_once(config: SweepConfig, resources: Resources) -> int:
    """How many trials the connected cluster runs at once.

    Raises:
        ClusterError: not even one.
    """
    most = fits("a trial", per_trial(config, resources))
    return min(most, resources.concurrency or most)


def per_trial(config: SweepConfig, resources: Resources) -> dict[str, float]:
    """What one trial takes, its workers together."""
    workers = config.base.workers
    return {"CPU": config.base.threads * workers, "GPU": resources.gpus * workers}
