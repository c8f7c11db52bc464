"""A way to a device that copies as late as it may, and notices memory that is used too early."""

from threading import RLock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fftune.data.buffer_pool import aligned


class LateMoment:
    """A moment that is passed when somebody waits for it, at `at` milliseconds."""

    def __init__(self, link: "LateLink", at: float) -> None:
        self.link, self.at, self.passed = link, at, False

    def query(self) -> bool:
        return self.passed

    def synchronize(self) -> None:
        self.link.run(self)

    def elapsed_time(self, end: "LateMoment", /) -> float:
        assert self.passed and end.passed
        return end.at - self.at


class LateLink:
    """Memory of the host in the part of a device. Copies wait until they are waited for."""

    def __init__(self, room: int = 0) -> None:
        self.left = room
        self.given: list[NDArray[np.uint8]] = []
        self.clock = 0.0
        self.copies: list[tuple[LateMoment, Tensor, Tensor]] = []
        self.taken: dict[int, float] = {}
        """When the computation took what lay at an address."""
        self.lock = RLock()

    def room(self) -> int:
        return self.left

    def pinned(self, size: int) -> NDArray[np.uint8]:
        memory = aligned(size)
        memory[:] = 0xAA
        self.given.append(memory)
        return memory

    def target(self, like: Tensor) -> Tensor:
        made = torch.empty_strided(like.shape, like.stride(), dtype=like.dtype).fill_(0xBB)
        self.taken.pop(made.data_ptr(), None)  # its allocator has seen to that
        return made

    def begin(self, source: Tensor, target: Tensor, after: LateMoment | None) -> LateMoment:
        with self.lock:
            taken = self.taken.get(target.data_ptr())
            if taken is not None:
                assert after is not None and after.at > taken, "copied over what is still read"
            copied = LateMoment(self, self._tick())
            self.copies.append((copied, self._unheld(source), target))
            return copied

    def _unheld(self, source: Tensor) -> Tensor:
        """What lies at the address of a tensor, which is not kept from being overwritten."""
        address = source.data_ptr()
        for memory in self.given:
            offset = address - memory.ctypes.data
            if 0 <= offset < memory.nbytes:
                place = torch.from_numpy(memory[offset:])
                return place.as_strided(source.shape, source.stride())
        return source

    def join(self, copied: LateMoment, target: Tensor) -> None:
        with self.lock:
            self.run(copied)
            self.taken[target.data_ptr()] = self._tick()

    def now(self) -> LateMoment:
        with self.lock:
            return LateMoment(self, self._tick())

    def run(self, moment: LateMoment) -> None:
        """Do all that was asked for before a moment, which is then passed."""
        with self.lock:
            while self.copies and self.copies[0][0].at <= moment.at:
                copied, source, target = self.copies.pop(0)
                target.copy_(source)
                copied.passed = True
            moment.passed = True

    def _tick(self) -> float:
        self.clock += 1.0
        return self.clock
