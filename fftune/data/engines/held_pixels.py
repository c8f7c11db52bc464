"""The engine of sets that are small enough to be held, in the host's memory or a device's."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from fftune.config import Split
from fftune.data.buffer_pool import BufferPool, Memory, aligned
from fftune.data.official_split import OfficialSplit


class HeldPixels:
    """The pixels of some positions as one uint8 tensor.

    Args:
        memory: where the memory of batches comes from.
    """

    def __init__(
        self, part: OfficialSplit, rows: Tensor, split: Split, memory: Memory = aligned
    ) -> None:
        self._at = torch.full((len(part),), -1)
        self._at[rows.sort().values] = torch.arange(len(rows))  # the order of `OfficialSplit.read`
        self.pixels = part.read(rows, split).pixels if len(rows) else torch.zeros(0)
        self._buffers = BufferPool(memory)

    def batches(self, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        for rows in batches:
            batch = self._buffers.take((len(rows), *self.pixels.shape[1:]))
            yield torch.index_select(self.pixels, 0, self._at[rows], out=batch)
