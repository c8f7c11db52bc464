"""The Optuna side of a study: its storage, its sampler, and its recovery after a crash."""

import math

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from fftune.config import SweepConfig
from fftune.sweep.front import Failure, Point
from fftune.sweep.gap import GapSampler
from fftune.sweep.study import StudyFolder

OBJECTIVES = ("natural_risk", "hypocritical_risk")


def open_search(study: StudyFolder) -> optuna.Study:
    """The Optuna study in the folder's journal, settled and ready to be asked."""
    config = study.config
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search = optuna.create_study(
        study_name=config.name,
        storage=storage(study),
        sampler=GapSampler(),
        directions=["minimize"] * len(OBJECTIVES),
        load_if_exists=True,
    )
    _settle(search, study)
    if config.strategy == "grid":
        known = {lam for t in search.get_trials(deepcopy=False) for lam in _lambdas(t)}
        for lam in sorted(set(config.lam) - known, key=config.lam.index):
            search.enqueue_trial({"lam": lam})
    return search


def _settle(search: optuna.Study, study: StudyFolder) -> None:
    """Settle the trials that a dead driver left running.

    Told, if their result is on disk; else failed, and queued again with the same lambda unless
    their failure is on disk.
    """
    for trial in search.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        point = study.point(trial.number)
        if point is not None:
            tell(search, trial.number, point, study.config)
            continue
        search.tell(trial.number, state=TrialState.FAIL)
        lam, failed = trial.params.get("lam"), study.failed(trial.number)
        if lam is not None and not failed:
            search.enqueue_trial({"lam": lam}, user_attrs={"retry_of": trial.number})


def storage(study: StudyFolder) -> BaseStorage:
    """The journal file of a study; other tools of Optuna open it as well."""
    return JournalStorage(JournalFileBackend(str(study.path / "optuna.journal")))


def suggest(trial: optuna.Trial, config: SweepConfig) -> float:
    """The trial's lambda."""
    return float(trial.suggest_float("lam", min(config.lam), max(config.lam)))


def objectives(point: Point, config: SweepConfig) -> tuple[float, float]:
    """What the search is told: both risks on the split that selects."""
    counts = point.counts(config.selection)
    return counts.natural_risk.value, counts.hypocritical_risk.value


def tell(search: optuna.Study, number: int, point: Point | Failure, config: SweepConfig) -> None:
    """Tell the search what a trial came to. A failed trial is failed, not a bad score.

    So is one without a single mistake: its hypocritical risk is undefined, and Optuna knows
    no such value.
    """
    values = objectives(point, config) if isinstance(point, Point) else (math.nan, math.nan)
    if all(map(math.isfinite, values)):
        search.tell(number, values)
    else:
        search.tell(number, state=TrialState.FAIL)


def _lambdas(trial: optuna.trial.FrozenTrial) -> list[float]:
    """The lambda a trial has, or waits with."""
    waiting = trial.system_attrs.get("fixed_params", {})
    return [value for value in (trial.params.get("lam"), waiting.get("lam")) if value is not None]
