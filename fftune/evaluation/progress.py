"""A line now and then, which survives the log of a job."""

import logging
import time
from collections.abc import Sequence
from math import isfinite

from fftune.evaluation.cost_model import CostModel
from fftune.evaluation.job import BlockTask

log = logging.getLogger("fftune.evaluation")
EVERY = 30.0
"""Seconds between two lines."""


class Progress:
    """How far the blocks are, how fast, and when they will be done."""

    def __init__(self, expense: CostModel) -> None:
        self._expense = expense
        self._planned = self._done = self._known = 0
        self._examples = 0
        self._began = self._last = time.monotonic()

    def planned(self, tasks: int) -> None:
        """So many more were asked for."""
        self._planned += tasks

    def known(self, tasks: int) -> None:
        """So many of them were computed before."""
        self._known += tasks
        if tasks:
            log.info("%d of %d blocks are known already", tasks, self._planned - self._done)

    def done(self, task: BlockTask, seconds: float) -> None:
        """One was computed."""
        self._expense.measured(task, seconds)
        self._done += 1
        self._examples += len(task.rows)

    @property
    def due(self) -> bool:
        """Whether the last line is old enough for another."""
        return time.monotonic() - self._last >= EVERY

    def beat(self, left: Sequence[BlockTask], workers: int, doing: str = "") -> None:
        """Write a line.

        Args:
            left: tasks that are not done.
            workers: how many are at work.
        """
        self._last = now = time.monotonic()
        rest = self._expense.left(left) / max(workers, 1)
        log.info(
            "%d of %d blocks, %s%.3g examples/s%s%s",
            self._done + self._known,
            self._planned,
            f"{workers} actors, " if workers != 1 or not doing else "",
            self._examples / (now - self._began),
            f", {rest:.0f} s left" if isfinite(rest) else "",
            f"; {doing}" if doing else "",
        )
