"""The door to Ray Tune: several trials at once, on this machine or on a cluster."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import floor, inf
from typing import Any

# Ray reads these when it is imported.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # listeners on loopback only
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # its boxes turn to noise in a job's log
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C is ours: see fftune.cli

import optuna
import ray
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from fftune.config import Resources, SweepConfig
from fftune.errors import ClusterError
from fftune.sweep.front import Failure
from fftune.sweep.progress import Progress
from fftune.sweep.search import OBJECTIVES, objectives, storage, suggest
from fftune.sweep.trial import TrialRunner

log = logging.getLogger(__name__)


@contextmanager
def cluster(resources: Resources, *, threads: int) -> Iterator[int]:
    """A connection to Ray, and how many trials fit at once. One that is open already is used.

    Raises:
        ClusterError: the cluster cannot be reached, or can never run one trial.
    """
    if ray.is_initialized():
        yield _concurrency(resources, threads)
        return
    address = resources.address or os.environ.get("RAY_ADDRESS") or "local"
    log.info("Ray: %s", "starting on this machine" if address == "local" else f"joining {address}")
    _require_answer(address)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        options |= {"include_dashboard": False, "num_cpus": _usable_cpus()}
    try:
        ray.init(address=address, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ClusterError(f"cluster {address!r} cannot be reached: {_line(error)}") from None
    try:
        yield _concurrency(resources, threads)
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Knock first: Ray would wait for minutes at a door that nobody opens.

    Raises:
        ClusterError: nothing listens there.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host:
        return  # "local" and "auto" name no door
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise ClusterError(f"cluster {address!r} cannot be reached: {error}") from None


def run_on_ray(
    runner: TrialRunner,
    search: optuna.Study,
    progress: Progress,
    *,
    gpus: float,
    concurrency: int,
) -> None:
    """Run what remains of the study as one Tune run."""
    config = runner.study.config
    per_trial = {"CPU": config.base.threads, "GPU": gpus}
    log.info("%d trials, %d at once, %s each", runner.study.remaining, concurrency, per_trial)
    tune.Tuner(
        tune.with_resources(tune.with_parameters(_trial, runner=runner), per_trial),
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


def _concurrency(resources: Resources, threads: int) -> int:
    """How many trials the cluster holds at once.

    Raises:
        ClusterError: not even one. Ray would wait for ever.
    """
    total: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    fits = inf
    for name, wanted in (("CPU", threads), ("GPU", resources.gpus)):
        has = total.get(name, 0)
        if wanted > has:
            raise ClusterError(f"a trial needs {wanted:g} {name}s, the cluster has {has:g}")
        fits = min(fits, has // wanted) if wanted else fits
    return min(floor(fits), resources.concurrency or floor(fits))


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0))


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
