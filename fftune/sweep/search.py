"""The Optuna side of a study: its sampler, what it is told, and its recovery after a crash."""

import math
import warnings
from collections.abc import Sequence

import optuna
from optuna.trial import TrialState

from fftune.config import Study
from fftune.sweep.database import open_or_create
from fftune.sweep.front import Failure, Point, Repeats
from fftune.sweep.samplers import enqueue, make_sampler
from fftune.sweep.study import StudyFolder


def open_search(study: StudyFolder) -> optuna.Study:
    """The Optuna study of a folder, settled and ready to be asked.

    Raises:
        StorageError: the database of `FFTUNE_DB` does not answer.
        StudyError: the study is not the one that this folder began there.
    """
    config = study.config
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search = open_or_create(study, make_sampler(config), config.risks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        search.set_metric_names(list(config.risks))  # what plots and the dashboard call them
    _settle(search, study)
    enqueue(search, config)
    return search


def _settle(search: optuna.Study, study: StudyFolder) -> None:
    """Settle the trials that a dead driver left running.

    Told, if their result is on disk, or that they were stopped; else failed, and queued again
    with the same parameters unless their failure is on disk.
    """
    for trial in search.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        points = study.points(trial.number)
        if points or study.was_stopped(trial.number):
            tell(search, trial.number, points, study.config)
            continue
        search.tell(trial.number, state=TrialState.FAIL)
        if trial.params and not study.failed(trial.number):
            again = {"retry_of": trial.number}
            search.enqueue_trial(trial.params, user_attrs=again, skip_if_exists=False)


def objectives(points: Sequence[Point], config: Study) -> tuple[float, ...]:
    """What the search is told: the risks on the split that selects, means over the seeds."""
    return Repeats(points=tuple(points)).risks(config.selection, config.risks)


def tell(
    search: optuna.Study, number: int, points: Sequence[Point] | Failure, config: Study
) -> None:
    """Tell the search what a trial came to. A failed trial is failed, not a bad score.

    So is one without a single mistake: its hypocritical risk is undefined, and Optuna knows no
    such value. A trial without models was stopped: it is pruned, and has no score either.
    """
    if not isinstance(points, Failure) and not points:
        search.tell(number, state=TrialState.PRUNED)
        return
    values: tuple[float, ...] = (math.nan,)
    if not isinstance(points, Failure):
        values = objectives(points, config)
    if all(map(math.isfinite, values)):
        search.tell(number, values)
    else:
        search.tell(number, state=TrialState.FAIL)
