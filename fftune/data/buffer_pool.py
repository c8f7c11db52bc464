"""Pool of memory for batches, reused when no tensor holds it any more.

Touching fresh memory costs more than filling it: at 224 pixels a batch of 128 has 77 MB, and
making floats of bytes took 7 times longer into new memory than into used.
"""

from collections import deque
from collections.abc import Callable
from math import prod
from weakref import finalize

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ALIGNMENT = 64
"""Alignment of torch's own allocator, so that no library computes in another order."""


def aligned(size: int) -> NDArray[np.uint8]:
    """(size,) bytes of the host's memory, uninitialised."""
    memory = np.empty(size + ALIGNMENT, np.uint8)
    return memory[-memory.ctypes.data % ALIGNMENT :]


Memory = Callable[[int], NDArray[np.uint8]]
"""Gives at least so many bytes, uninitialised: plain memory, or such as a device can copy from."""


class BufferPool:
    """Gives tensors whose memory comes back by itself when the last view of it is gone.

    Args:
        memory: where its memory comes from.
        spare: number of free pieces of memory that are kept.
    """

    def __init__(self, memory: Memory = aligned, *, spare: int = 2) -> None:
        self._memory = memory
        self._spare: deque[NDArray[np.uint8]] = deque(maxlen=spare)  # safe between threads

    def take(self, shape: tuple[int, ...], dtype: torch.dtype = torch.uint8) -> Tensor:
        """An uninitialised tensor, contiguous on the CPU."""
        size = prod(shape) * dtype.itemsize
        memory = self._kept(size)
        held = memory[:size]
        finalize(held, self._spare.append, memory).atexit = False
        return torch.from_numpy(held).view(dtype).view(shape)  # the tensor alone holds `held`

    def _kept(self, size: int) -> NDArray[np.uint8]:
        try:
            memory = self._spare.pop()
        except IndexError:
            return self._memory(size)
        return memory if memory.nbytes >= size else self._memory(size)
