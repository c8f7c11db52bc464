"""The Optuna side of a study: its sampler, what it is told, and its recovery after a crash."""

import math
import warnings
from collections.abc import Sequence

import optuna
from optuna.trial import FixedTrial, TrialState, create_trial

from fftune.config import Study
from fftune.sweeping.front import Failure, SeedResult, TrialResult
from fftune.sweeping.optuna_storage import open_or_create
from fftune.sweeping.samplers.strategies import enqueue, make_sampler
from fftune.sweeping.search_space import params_of, suggest
from fftune.sweeping.study_dir import StudyDir


def open_search(study: StudyDir) -> optuna.Study:
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
    _restore(search, study)
    _settle(search, study)
    enqueue(search, config)
    return search


def _restore(search: optuna.Study, study: StudyDir) -> None:
    """Let the search know of trials again that ended, and whose records were lost with a crash.

    They are running trials then, with their parameters, for `_settle` to settle.
    """
    storage = search._storage
    for number, settings in sorted(study.recorded().items()):
        fixed = FixedTrial(params_of(settings, study.config))
        suggest(fixed, study.config)
        while len(search.get_trials(deepcopy=False)) < number:
            search.add_trial(create_trial(state=TrialState.FAIL))
        trials = search.get_trials(deepcopy=False)
        if len(trials) == number:
            running = TrialState.RUNNING
            search.add_trial(
                create_trial(state=running, params=fixed.params, distributions=fixed.distributions)
            )
            continue
        trial = trials[number]
        if trial.state.is_finished():
            continue
        for name in fixed.distributions.keys() - trial.params.keys():
            kind = fixed.distributions[name]
            value = kind.to_internal_repr(fixed.params[name])
            storage.set_trial_param(trial._trial_id, name, value, kind)
        if trial.state == TrialState.WAITING:
            storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)


def _settle(search: optuna.Study, study: StudyDir) -> None:
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


def objectives(points: Sequence[SeedResult], config: Study) -> tuple[float, ...]:
    """What the search is told: the risks on the split that selects, means over the seeds."""
    return TrialResult(points=tuple(points)).risks(config.selection, config.risks)


def tell(
    search: optuna.Study, number: int, points: Sequence[SeedResult] | Failure, config: Study
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
