"""Sums over the steps of an epoch, and the record that they come to."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from fftune.config import TrainConfig
from fftune.training.history import EpochRecord


@dataclass(kw_only=True)
class EpochTotals:
    """Sums over the steps of an epoch. Tensors stay on the device, as reading would wait for it."""

    losses: Tensor
    """(steps,), the summed loss of the examples of each step; 0 for steps to come. (steps, k) of k
    nets side by side."""
    right: Tensor
    """Number of right predictions, a scalar; (k,) of k nets side by side."""
    lr: float
    """Learning rate of the first step."""
    step: int = 0
    """Number of steps that are done."""
    seconds: float = 0.0
    """Time spent on these steps."""
    waited: float = 0.0
    """Seconds of them for which batches were waited for; see `EpochStream.waited`."""

    def add(self, loss: Tensor, right: Tensor) -> None:
        """Count a step."""
        self.losses[self.step] = loss
        self.right += right
        self.step += 1

    def of(self, copies: Tensor) -> "EpochTotals":
        """Means over some of several nets, given by their indices, as the totals of one net."""
        losses, right = self.losses[:, copies], self.right[copies]
        return replace(self, losses=losses.mean(1), right=right.mean())

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


def fault(
    losses: Tensor,
    config: TrainConfig,
    history: Sequence[EpochRecord],
    size: Callable[[int], int],
) -> str:
    """The first loss of the epoch after `history` that is not finite, in words; empty: all are.

    Waits for the device.

    Args:
        losses: (steps,), as `EpochTotals` has them.
        size: the number of examples of a step.
    """
    bad = (~losses.isfinite()).nonzero().flatten().tolist()
    if not bad:
        return ""
    step = bad[0]
    last = history[-1].loss if history else math.nan
    if step:
        last = float(losses[step - 1]) / size(step - 1)
    return (
        f"loss is {float(losses[step])} in epoch {len(history) + 1}, step {step + 1} "
        f"(lam {config.lam:g}, lr {config.lr:g}); the last finite one was {last:.4g}"
    )
