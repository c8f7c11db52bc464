"""A line now and then, which survives the log of a job."""

import logging
import time
from dataclasses import dataclass, field

log = logging.getLogger("fftune.train")
EVERY = 30.0
"""Seconds between two lines."""


@dataclass(kw_only=True)
class Heartbeat:
    """Says how far a run is."""

    epochs: int
    steps: int
    """Of the whole run."""
    name: str
    last: float = field(default_factory=time.monotonic)
    done: int = -1
    """Steps that were done when the last line was written."""

    @property
    def due(self) -> bool:
        """Whether the last line is old enough: reading a loss makes the device wait."""
        return time.monotonic() - self.last > EVERY

    def beat(
        self,
        *,
        done: int,
        epoch: int,
        step: int,
        of: int,
        loss: float,
        accuracy: float,
        rate: float,
    ) -> None:
        """Write a line.

        Args:
            done: steps of the whole run.
            step: of `of` in this epoch.
            rate: examples a second.
        """
        now = time.monotonic()
        pace = (now - self.last) / max(done - self.done, 1)
        log.info(
            "%s epoch %d/%d step %d/%d loss %.4g accuracy %.3f, %.0f examples/s, %.0f s left",
            self.name,
            epoch,
            self.epochs,
            step,
            of,
            loss,
            accuracy,
            rate,
            pace * (self.steps - done),
        )
        self.last, self.done = now, done
