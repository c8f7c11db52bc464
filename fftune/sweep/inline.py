"""Trials one after the other in this process: for laptops, debuggers and tests."""

import logging

import optuna

from fftune.sweep.front import Failure
from fftune.sweep.progress import Progress
from fftune.sweep.search import suggest, tell
from fftune.sweep.trial import TrialRunner

log = logging.getLogger(__name__)


def run_inline(runner: TrialRunner, search: optuna.Study, progress: Progress) -> None:
    """Run what remains of the study."""
    config = runner.study.config
    for _ in range(runner.study.remaining):
        trial = search.ask()
        lam = suggest(trial, config)
        try:
            point = runner(trial.number, lam)
        except Exception as error:
            log.debug("trial %d", trial.number, exc_info=True)
            failure = Failure(trial=trial.number, lam=lam, reason=str(error))
            tell(search, trial.number, failure, config)
            progress.failed(failure)
        else:
            tell(search, trial.number, point, config)
            progress.finished(point)
