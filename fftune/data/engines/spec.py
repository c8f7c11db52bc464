"""The interface of engines, which deliver pixels to a loader."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from torch import Tensor


class Pixels(Protocol):
    """An engine, which delivers pixels at given positions, a batch at a time, in new memory."""

    def batches(self, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """(B, C, H, W) uint8 for each (B,) int64 of positions, the consumer's to change."""
