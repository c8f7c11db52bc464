"""Progress of a study: one log line a trial."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from fftune.config import Selection, Settings
from fftune.sweeping.front import RISKS, Failure, SeedResult, Stopped, TrialResult

log = logging.getLogger("fftune.sweep")


@dataclass(kw_only=True)
class Progress:
    """Count ended trials, log a line for each, and estimate the time left."""

    study: str
    planned: int
    ended: int
    selection: Selection
    risks: tuple[str, ...] = RISKS
    began: float = field(default_factory=time.monotonic)
    already: int = field(init=False)

    def __post_init__(self) -> None:
        self.already = self.ended

    def finished(self, results: Sequence[SeedResult]) -> None:
        """Log the risks of a finished trial."""
        trial = TrialResult(results=tuple(results))
        named = zip(self.risks, trial.risks(self.selection, self.risks), strict=True)
        risks = ", ".join(f"{name} {value:.3f}" for name, value in named)
        risks += f" on {self.selection}{self._adaptive(results)}"
        seconds = sum(result.train_seconds + result.evaluate_seconds for result in results)
        seeds = f", means of {len(results)} seeds" if len(results) > 1 else ""
        self._line(f"{_named(trial.settings)}: {risks}{seeds}, {seconds:.1f} s")

    def _adaptive(self, results: Sequence[SeedResult]) -> str:
        """Risks of a defense under adaptive attacks, on the few images that those attack."""
        aware = [result.aware for result in results if result.aware]
        if not aware:
            return ""
        means = (fmean(getattr(counts, name).value for counts in aware) for name in self.risks)
        values = ", ".join(f"{value:.3f}" for value in means)
        return f" (adaptive attackers: {values}, n = {aware[0].total})"

    def failed(self, failure: Failure) -> None:
        """Log the failure of a trial."""
        self._line(f"{_named(failure.settings)}: failed: {failure.reason}")

    def stopped(self, stop: Stopped) -> None:
        """Log that a trial was stopped early."""
        saved = f"{stop.epochs_saved} epochs saved"
        self._line(f"{_named(stop.settings)}: stopped after epoch {stop.epoch}, {saved}")

    def _line(self, what: str) -> None:
        self.ended += 1
        pace = (time.monotonic() - self.began) / (self.ended - self.already)
        left = f", {pace * (self.planned - self.ended):.0f} s left" if self._open else ""
        log.info("%s trial %d/%d %s%s", self.study, self.ended, self.planned, what, left)

    @property
    def _open(self) -> bool:
        return self.ended < self.planned


def _named(settings: Settings) -> str:
    """Settings in a line, as in "lam 6, optimizer.lr 0.05"."""
    values = ((k, f"{v:g}" if isinstance(v, float | int) else v) for k, v in settings.items())
    return ", ".join(f"{path} {value}" for path, value in values)
