"""Sums over the steps of an epoch, and the record that they come to."""

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

from torch import Tensor

from fftune.training.history import EpochRecord

T = TypeVar("T")


@dataclass(kw_only=True)
class EpochTotals:
    """Sums over the steps of an epoch. Tensors stay on the device, as reading would wait for it."""

    losses: Tensor
    """(steps,), the summed loss of the examples of each step; 0 for steps to come."""
    right: Tensor
    """Number of right predictions, a scalar."""
    lr: float
    """Learning rate of the first step."""
    step: int = 0
    """Number of steps that are done."""
    seconds: float = 0.0
    """Time spent on these steps."""
    waited: float = 0.0
    """Seconds of them in which nothing could be launched, as the batch was not there yet."""

    def add(self, loss: Tensor, right: Tensor) -> None:
        """Count a step."""
        self.losses[self.step] = loss
        self.right += right
        self.step += 1

    def timed(self, batches: Iterator[T]) -> Iterator[T]:
        """The batches; the seconds until each is there are counted."""
        while True:
            began = perf_counter()
            batch = next(batches, None)
            self.waited += perf_counter() - began
            if batch is None:
                return
            yield batch

    def record(self, epoch: int, examples: int) -> EpochRecord:
        """The measurements of these steps, which took so many examples. Waits for the device."""
        return EpochRecord(
            epoch=epoch,
            lr=self.lr,
            loss=float(self.losses.sum()) / examples,
            accuracy=float(self.right) / examples,
            seconds=self.seconds,
            examples_per_second=examples / self.seconds,
            data_wait=self.waited / self.seconds,
        )
