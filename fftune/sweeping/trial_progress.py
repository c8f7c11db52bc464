"""Progress of a study: a line an ended trial, the time left, the best front so far."""

import logging
from collections.abc import Sequence
from math import isfinite
from statistics import fmean
from types import TracebackType
from typing import Any

from fftune.config import Settings, told_radius
from fftune.config.search_space import RADII
from fftune.pareto import hypervolume
from fftune.progress import Progress, duration
from fftune.sweeping.front import REFERENCE
from fftune.sweeping.samplers.spec import planned
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.trial_results import Failure, SeedResult, Stopped, TrialResult

log = logging.getLogger("fftune.sweep")


class TrialProgress:
    """Ended trials of a study, in a `with` block around them."""

    def __init__(self, study: StudyDir) -> None:
        config = study.config
        self._selection, self._risks = config.selection, config.risks
        self._progress = Progress(
            config.name, unit="trials", total=planned(config), done=study.ended
        )
        finished = filter(None, map(study.results, study.recorded()))
        self._found = [self._pair(TrialResult(results=results)) for results in finished]

    def __enter__(self) -> "TrialProgress":
        self._progress.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._progress.__exit__(kind, error, at)

    def finished(self, results: Sequence[SeedResult]) -> None:
        """Tell of a trial that gave a model for each seed."""
        trial = TrialResult(results=tuple(results))
        self._found.append(self._pair(trial))
        risks = zip(self._risks, trial.risks(self._selection, self._risks), strict=True)
        text = ", ".join(f"{name.replace('_', ' ')} {_percent(value)}" for name, value in risks)
        text += f" on {self._selection}{self._adaptive(results)}"
        seconds = sum(result.train_seconds + result.evaluate_seconds for result in results)
        seeds = f", means of {len(results)} seeds" if len(results) > 1 else ""
        self._ended(f"{_named(trial.settings)}: {text}{seeds}, {seconds:.1f} s")

    def failed(self, failure: Failure) -> None:
        """Tell of a trial that gave no model."""
        self._ended(f"{_named(failure.settings)}: failed: {failure.reason}")

    def stopped(self, stop: Stopped) -> None:
        """Tell of a trial that was stopped early."""
        saved = f"{stop.epochs_saved} epochs saved"
        self._ended(f"{_named(stop.settings)}: stopped after epoch {stop.epoch}, {saved}")

    def waiting(self, at_work: Sequence[Settings] = ()) -> None:
        """Show that trials are still at work, and which."""
        note = f"at work: {'; '.join(map(_named, at_work))}" if at_work else None
        self._progress.update(note=note)

    def _pair(self, trial: TrialResult) -> tuple[float, float]:
        """The two risks of which the hypervolume is shown."""
        first, second = trial.risks(self._selection, self._risks)[:2]
        return first, second

    def _adaptive(self, results: Sequence[SeedResult]) -> str:
        """The risks under adaptive attackers, on the few images that they try."""
        known = [result.aware for result in results if result.aware]
        if not known:
            return ""
        means = {
            name.replace("_", " "): fmean(getattr(counts, name).value for counts in known)
            for name in self._risks
        }
        values = ", ".join(f"{name} {_percent(value)}" for name, value in means.items())
        return f" (to attackers who know it: {values}, n = {known[0].total})"

    def _ended(self, what: str) -> None:
        work, volume = self._progress, hypervolume(self._found, REFERENCE)
        work.update(work.done + 1, note=f"best hypervolume {volume:.4f}", told=True)
        more = work.done < work.total and isfinite(work.left)
        left = f", {duration(work.left)} left" if more else ""
        log.info("%s trial %d/%d %s%s", work.name, work.done, work.total, what, left)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if isfinite(share) else "undefined"


def _named(settings: Settings) -> str:
    """Settings as in "lam 6, optimizer.lr 0.05"."""
    return ", ".join(f"{path} {_printed(path, value)}" for path, value in settings.items())


def _printed(path: str, value: Any) -> str:
    if not isinstance(value, float | int):
        return str(value)
    radius = path.rpartition(".")[2] in (*RADII, "step_size")
    return told_radius(value) if radius else f"{value:g}"
