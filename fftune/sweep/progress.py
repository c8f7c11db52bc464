"""One line a trial, which survives the log of a job."""

import logging
import time
from dataclasses import dataclass, field

from fftune.config import Selection
from fftune.sweep.front import Failure, Point

log = logging.getLogger("fftune.sweep")


@dataclass(kw_only=True)
class Progress:
    """Counts ended trials and estimates when the rest will be done."""

    study: str
    planned: int
    ended: int
    selection: Selection
    began: float = field(default_factory=time.monotonic)
    already: int = field(init=False)

    def __post_init__(self) -> None:
        self.already = self.ended

    def finished(self, point: Point) -> None:
        """A trial gave a model."""
        counts = point.counts(self.selection)
        seconds = point.train_seconds + point.evaluate_seconds
        self._line(
            f"lam {point.lam:g}: natural_risk {counts.natural_risk.value:.3f}, "
            f"hypocritical_risk {counts.hypocritical_risk.value:.3f} on {self.selection}, "
            f"{seconds:.1f} s"
        )

    def failed(self, failure: Failure) -> None:
        """A trial gave none."""
        self._line(f"lam {failure.lam:g}: failed: {failure.reason}")

    def _line(self, what: str) -> None:
        self.ended += 1
        pace = (time.monotonic() - self.began) / (self.ended - self.already)
        left = f", {pace * (self.planned - self.ended):.0f} s left" if self._open else ""
        log.info("%s trial %d/%d %s%s", self.study, self.ended, self.planned, what, left)

    @property
    def _open(self) -> bool:
        return self.ended < self.planned
