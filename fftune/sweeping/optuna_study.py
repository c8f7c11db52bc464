"""Optuna side of a study: its sampler, its objectives, and recovery after a crash."""

import math
import warnings
from collections.abc import Sequence

import optuna
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
from optuna.trial import FixedTrial, TrialState, create_trial

from fftune.config import Study
from fftune.sweeping.optuna_storage import open_or_create
from fftune.sweeping.samplers.strategies import enqueue, make_sampler
from fftune.sweeping.search_space import params_of, suggest
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.trial_results import Failure, SeedResult, TrialResult


def open_search(study: StudyDir) -> optuna.Study:
    """Open the Optuna study of a folder, with all ended trials recorded, ready to be asked.

    Raises:
        StorageError: the database of `FFTUNE_DB` does not answer.
        StudyError: the Optuna study does not belong to this folder.
    """
    config = study.config
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search = open_or_create(study, make_sampler(config), config.sought)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        search.set_metric_names(list(config.sought))  # their names in plots and the dashboard
    _restore(search, study)
    _settle(search, study)
    _queue_again(search, study)
    enqueue(search, config)
    return search


def _restore(search: optuna.Study, study: StudyDir) -> None:
    """Add trials again that ended and whose Optuna records were lost with a crash.

    They become running trials with their parameters, which `_settle` then ends.
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
    """End the trials that a dead driver left running: as the record on disk says, or as failed."""
    for trial in search.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        results = study.results(trial.number)
        if results or study.was_stopped(trial.number):
            tell(search, trial.number, results, study.config)
        else:
            search.tell(trial.number, state=TrialState.FAIL)


def _queue_again(search: optuna.Study, study: StudyDir) -> None:
    """Queue the parameters of trials that failed without a record of their own.

    They are those that a driver gave up when it ended, and those of drivers that died; whichever
    step one of them died after, no parameters are lost, and none are queued twice.
    """
    ended, trials = study.recorded(), search.get_trials(deepcopy=False)
    given_up = [t for t in trials if t.state == TrialState.FAIL and t.number not in ended]
    others = [t for t in trials if t.state != TrialState.FAIL or t.number in ended]
    known = [t.system_attrs.get("fixed_params", t.params) for t in others]
    for trial in given_up:
        if trial.params and trial.params not in known:
            known.append(trial.params)
            again = {"retry_of": trial.number}
            search.enqueue_trial(trial.params, user_attrs=again, skip_if_exists=False)


def risks_of(results: Sequence[SeedResult], config: Study) -> tuple[float, ...]:
    """All risks of a trial on the split that selects, means over the seeds."""
    return TrialResult(results=tuple(results)).risks(config.selection, config.risks)


def tell(
    search: optuna.Study, number: int, results: Sequence[SeedResult] | Failure, config: Study
) -> None:
    """Tell the search how a trial ended: with its objectives, failed, or pruned.

    With bounds (`Study.where`) the risks without one are minimized, and each bound is a constraint.
    Were a bounded risk an objective too, Optuna's search for a front would not leave the corners:
    see benchmarks/RESULTS.md.

    A trial whose hypocritical risk is undefined, for lack of mistakes, counts as failed, as
    Optuna takes no such value. A trial without results was stopped early: it is pruned.
    """
    if not isinstance(results, Failure) and not results:
        search.tell(number, state=TrialState.PRUNED)
        return
    values: tuple[float, ...] = (math.nan,)
    if not isinstance(results, Failure):
        values = risks_of(results, config)
    if all(map(math.isfinite, values)):
        _constrain(search, number, values, config)
        told = dict(zip(config.risks, values, strict=True))
        search.tell(number, [told[risk] for risk in config.sought])
    else:
        search.tell(number, state=TrialState.FAIL)


def _constrain(search: optuna.Study, number: int, values: Sequence[float], config: Study) -> None:
    """Store by how much a trial exceeds each bound, before it is told: then it counts for good.

    As `Trial.set_constraint` does it, for trials of dead drivers too, of which no `Trial` is left.
    """
    storage = search._storage
    trial = storage.get_trial_id_from_study_id_trial_number(search._study_id, number)
    for bound in config.where:
        excess = bound.excess(values, config.risks)
        storage.set_trial_system_attr(trial, f"{_CONSTRAINTS_KEY}:{bound}", excess)
