"""Run trials with Ray Tune: several at once, on this machine or on a cluster."""

import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from math import nan
from typing import Any, NoReturn

from fftune.ray_cluster import (  # before Ray, whose start it sets
    Driver,
    enter_driver,
    max_concurrent,
    require_run_dir,
)

# isort: split
import optuna
from ray import tune
from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE

from fftune.config import Bound, Resources, Study
from fftune.data.catalog import opened_once
from fftune.errors import ClusterError, FftuneError, StorageError, packed, unpacked
from fftune.risk import RiskCounts
from fftune.sweeping.card_share import MoreOfCardError
from fftune.sweeping.early_stopping import RungResult
from fftune.sweeping.optuna_storage import open_storage
from fftune.sweeping.optuna_study import risks_of
from fftune.sweeping.ray_scheduler import (
    MORE_GPUS,
    CardShareScheduler,
    ParetoHalvingScheduler,
    PruneAwareOptunaSearch,
)
from fftune.sweeping.search_space import suggest
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.trial_errors import by_settings, ending
from fftune.sweeping.trial_progress import TrialProgress
from fftune.sweeping.trial_runner import TrialRunner
from fftune.training.out_of_memory import free_memory

log = logging.getLogger(__name__)
# Tune copies the driver's keys to AWS into the runtime environment of trials, and Ray's dashboard
# shows that. Trials write to the shared storage; the nodes have keys of their own.
ENV_VARS_TO_PROPAGATE.difference_update([n for n in ENV_VARS_TO_PROPAGATE if n.startswith("AWS_")])
ENDED = "ended"
"""Key of a worker's report, beside undefined values, of an error that ends the study."""


def run_on_ray(
    runner: TrialRunner,
    search: optuna.Study,
    progress: TrialProgress,
    resources: Resources,
) -> None:
    """Run the remaining trials of a study as one Tune run, on the connected cluster.

    Raises:
        ClusterError: the cluster can never run one trial.
        FftuneError: a worker met what the settings of its trial did not cause; none is spent.
    """
    config = runner.study.config
    stopping = config.early_stopping
    needs, concurrency = per_worker(config, resources), at_once(config, resources)
    workers = config.base.workers
    each = f"{needs} each" if workers == 1 else f"{workers} workers each with {needs}"
    log.info("%d trials, %d at once, %s", runner.study.remaining, concurrency, each)
    # A trial whose workers train elsewhere must not take their place.
    own = needs if workers == 1 else {"CPU": 0.0, "memory": 1.0}
    scheduler = CardShareScheduler(
        config.risks,
        rungs=stopping.rungs,
        eta=stopping.eta,
        rule=stopping.rule,
        time_attr="epoch",
    )
    reporter = _Reporter(runner, progress, scheduler)
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(_trial, runner=runner, driver=Driver.here()), own),
        tune_config=tune.TuneConfig(
            search_alg=_search_alg(runner, search, scheduler),
            scheduler=scheduler,
            num_samples=runner.study.remaining,
            max_concurrent_trials=concurrency,
            reuse_actors=True,  # a fresh actor imports torch for seconds
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(runner.study.path),
            # For deaths of workers; a trial catches its own exceptions.
            failure_config=tune.FailureConfig(max_failures=config.attempts - 1),
            callbacks=[reporter],
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    except tune.TuneError:  # wraps whatever a callback raises
        if reporter.ended:
            raise reporter.ended from None
        raise


def _search_alg(
    runner: TrialRunner, search: optuna.Study, scheduler: ParetoHalvingScheduler
) -> PruneAwareOptunaSearch:
    """Ray's search with Optuna, on the study's storage; each trial receives its number."""
    config = runner.study.config
    return PruneAwareOptunaSearch(
        scheduler,
        partial(_space, study=runner.study),
        bounds={str(bound): partial(_excess, bound, config.risks) for bound in config.where},
        metric=list(config.sought),
        mode=["min"] * len(config.sought),
        sampler=search.sampler,
        study_name=search.study_name,
        storage=open_storage(runner.study),
    )


def _excess(bound: Bound, risks: Sequence[str], result: Mapping[str, Any]) -> float:
    """Compute by how much the last result of a trial exceeds a bound."""
    return bound.excess([result[name] for name in risks], risks)


def _space(trial: Any, study: StudyDir) -> dict[str, Any]:
    """Draw the settings of a trial, and pass them on as constants with its number.

    Args:
        study: Ray pickles it, which settings of a class in a user's file do not bear.
    """
    return {"settings": dict(suggest(trial, study.config)), "number": trial.number}


def _trial(parameters: dict[str, Any], runner: TrialRunner, driver: Driver) -> None:
    """Run one trial on a worker, with a report at each rung and one at the end.

    An error is reported beside undefined values: if it were raised, Ray would end the worker too,
    and the next one would import torch for seconds. One that the trial's settings caused is
    recorded on disk; any other ends the study, and the driver is told which.
    """
    enter_driver(driver)
    config = runner.study.config
    values: dict[str, Any]
    undefined: dict[str, Any] = dict.fromkeys(config.risks, nan)
    try:
        require_run_dir(runner.study.path)
    except StorageError as error:
        tune.report(undefined | {ENDED: json.dumps(packed(error))})
        return

    def at_rung(epoch: int, counts: RiskCounts) -> None:
        rung = RungResult.of(counts)
        low = {f"{name}_low": end for name, end in zip(config.risks, rung.optimistic, strict=True)}
        tune.report(dict(zip(config.risks, rung.values, strict=True)) | low | {"epoch": epoch})

    alone = config.base.workers == 1  # else the workers' placement is the trial's own
    held = tune.get_context().get_trial_resources().required_resources.get("GPU", 0.0)
    try:
        with opened_once():
            results = runner(
                parameters["number"],
                parameters["settings"],
                at_rung,
                held=held if alone else None,
            )
        values = dict(zip(config.risks, risks_of(results, config), strict=True))
    except MoreOfCardError as error:
        values = undefined | {MORE_GPUS: error.gpus}
        free_memory(error)  # this process may wait for its next trial
    except Exception as error:
        log.debug("trial %d", parameters["number"], exc_info=True)
        values = undefined
        if not by_settings(error):
            values |= {ENDED: json.dumps(packed(ending(error, parameters["number"])))}
            free_memory(error)
    tune.report(values)


class _Reporter(tune.Callback):
    """Callback that logs each ended trial, and ends the study where that is not the trial's end."""

    def __init__(
        self, runner: TrialRunner, progress: TrialProgress, scheduler: ParetoHalvingScheduler
    ) -> None:
        self._runner, self._progress, self._scheduler = runner, progress, scheduler
        self.ended: FftuneError | None = None
        """Error that ends the study: other trials would meet it as well."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing of it where Ray pickles it into the study's folder: an address has a password."""
        return {}

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        running = [trial for trial in trials if trial.status == "RUNNING"]
        self._progress.waiting([trial.config["settings"] for trial in running])

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if ENDED in result:
            self._end(unpacked(**json.loads(result[ENDED])))
        if (gpus := result.get(MORE_GPUS)) is not None:
            number = trial.config["number"]
            log.warning("trial %d ran out of memory, and goes on with %g of a card", number, gpus)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number, settings = trial.config["number"], trial.config["settings"]
        if (rung := self._scheduler.stopped.get(trial.trial_id)) is not None:
            self._progress.stopped(self._runner.stopped(number, settings, int(rung)))
        elif results := self._runner.study.results(number):
            self._progress.finished(results)
        elif self._runner.study.failed(number):
            self._progress.failed(self._runner.study.failure(number))
        else:
            self._end(StorageError(f"trial {number} left no result; --resume tries it again"))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number, most = trial.config["number"], self._runner.study.config.attempts
        self._end(
            ClusterError(f"the workers of trial {number} died {most} times; it is left to --resume")
        )

    def _end(self, error: FftuneError) -> NoReturn:
        self.ended = error
        raise error


def at_once(config: Study, resources: Resources) -> int:
    """Number of trials that the connected cluster runs at once.

    Raises:
        ClusterError: it cannot run even one.
    """
    most = max_concurrent("a trial", per_worker(config, resources), config.base.workers)
    return min(most, resources.concurrency or most)


def per_worker(config: Study, resources: Resources) -> dict[str, float]:
    """CPUs and GPUs of one process: a trial is one process, or each of its workers is."""
    return {"CPU": config.base.threads, "GPU": resources.share}
