"""One line a trial, which survives the log of a job."""

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
    """Counts ended trials and estimates when the rest will be done."""

    study: str
    planned: int
    ended: int
    selection: Selection
    risks: tuple[str, ...] = RISKS
    began: float = field(default_factory=time.monotonic)
    already: int = field(init=False)

    def __post_init__(self) -> None:
        self.already = self.ended

    def finished(self, points: Sequence[SeedResult]) -> None:
        """A trial gave a model for each seed."""
        trial = TrialResult(points=tuple(points))
        named = zip(self.risks, trial.risks(self.selection, self.risks), strict=True)
        risks = ", ".join(f"{name} {value:.3f}" for name, value in named)
        risks += f" on {self.selection}{self._known(points)}"
        seconds = sum(point.train_seconds + point.evaluate_seconds for point in points)
        seeds = f", means of {len(points)} seeds" if len(points) > 1 else ""
        self._line(f"{_named(trial.settings)}: {risks}{seeds}, {seconds:.1f} s")

    def _known(self, points: Sequence[SeedResult]) -> str:
        """What attackers who know a defence come to, on the few images that they try."""
        aware = [point.aware for point in points if point.aware]
        if not aware:
            return ""
        means = (fmean(getattr(counts, name).value for counts in aware) for name in self.risks)
        told = ", ".join(f"{value:.3f}" for value in means)
        return f" (known to attackers: {told}, n = {aware[0].total})"

    def failed(self, failure: Failure) -> None:
        """A trial gave none."""
        self._line(f"{_named(failure.settings)}: failed: {failure.reason}")

    def stopped(self, stop: Stopped) -> None:
        """A trial was left behind."""
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
    """As in "lam 6, optimizer.lr 0.05"."""
    values = ((k, f"{v:g}" if isinstance(v, float | int) else v) for k, v in settings.items())
    return ", ".join(f"{path} {value}" for path, value in values)
