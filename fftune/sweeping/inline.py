"""Run trials one after the other in this process: for laptops, debuggers and tests."""

import logging

import optuna

from fftune.risk import RiskCounts
from fftune.sweeping.early_stopping import ParetoHalving, RungResult, StoppedError
from fftune.sweeping.optuna_study import tell
from fftune.sweeping.search_space import suggest
from fftune.sweeping.trial_errors import by_settings, ending
from fftune.sweeping.trial_progress import TrialProgress
from fftune.sweeping.trial_runner import TrialRunner

log = logging.getLogger(__name__)


def run_inline(runner: TrialRunner, search: optuna.Study, progress: TrialProgress) -> None:
    """Run the remaining trials of a study.

    Raises:
        UserError: a trial met what its settings did not cause, as a full disk; it is not spent.
    """
    config = runner.study.config
    stopping = config.early_stopping
    halving = ParetoHalving(eta=stopping.eta, rule=stopping.rule)
    for _ in range(runner.study.remaining):
        trial = search.ask()
        settings = suggest(trial, config)

        def at_rung(epoch: int, counts: RiskCounts, number: int = trial.number) -> None:
            if not halving.goes_on(number, epoch, RungResult.of(counts)):
                raise StoppedError(epoch)

        try:
            results = runner(trial.number, settings, at_rung)
        except StoppedError as stopped:
            tell(search, trial.number, (), config)
            progress.stopped(runner.stopped(trial.number, settings, stopped.epoch))
        except Exception as error:
            log.debug("trial %d", trial.number, exc_info=True)
            if not by_settings(error):
                raise ending(error, trial.number) from error
            failure = runner.failure(trial.number, settings, error)
            tell(search, trial.number, failure, config)
            progress.failed(failure)
        else:
            tell(search, trial.number, results, config)
            progress.finished(results)
