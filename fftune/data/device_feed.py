"""Pixels on their way to an accelerator: copied from pinned memory, ahead of the computation.

Decoders fill pinned memory, a thread starts copies on a stream of their own, and the computation
waits for a copy on the device alone: the host never does, unless the decoders are late.
"""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fftune.data import stopwatch
from fftune.data.prefetch import prefetched
from fftune.devices import policy

AHEAD = 2
"""Batches that are copied while the computation has another."""


class Moment(stopwatch.Moment, Protocol):
    """A point of a stream of work that can be waited for."""

    def synchronize(self) -> None:
        """Wait on the host until it has been passed."""


class Link(Protocol):
    """The way from the host's memory to a device, beside the stream of its computation."""

    def room(self) -> int:
        """Bytes of the device's memory that the pixels of a split may take, to stay there."""

    def pinned(self, size: int) -> NDArray[np.uint8]:
        """(size,) bytes of host memory that can be copied from while the host goes on."""

    def target(self, like: Tensor) -> Tensor:
        """Memory of the device with the shape and strides of a tensor on the host."""

    def begin(self, source: Tensor, target: Tensor, after: Moment | None) -> Moment:
        """Start a copy that waits for a moment of the computation, and return its end."""

    def join(self, copied: Moment, target: Tensor) -> None:
        """Have the computation wait for a copy, of which it takes the target."""

    def now(self) -> Moment:
        """The end of the computation that has been asked for so far."""


class CudaLink:
    """The way to a CUDA device: a stream of copies beside the one that is current there."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._copies = device, torch.cuda.Stream(device)

    def room(self) -> int:
        """See `Link.room`; what torch keeps for itself counts as taken."""
        return int(policy("cuda").pixels * torch.cuda.mem_get_info(self._device)[0])

    def pinned(self, size: int) -> NDArray[np.uint8]:
        """See `Link.pinned`."""
        pinned: NDArray[np.uint8] = torch.empty(size, dtype=torch.uint8, pin_memory=True).numpy()
        return pinned

    def target(self, like: Tensor) -> Tensor:
        """See `Link.target`."""
        with torch.cuda.stream(self._copies):
            return torch.empty_strided(
                like.shape, like.stride(), dtype=like.dtype, device=self._copies.device
            )

    def begin(self, source: Tensor, target: Tensor, after: Moment | None) -> Moment:
        """See `Link.begin`."""
        if after is not None:
            self._copies.wait_event(after)  # type: ignore[arg-type]  # one of `now`
        with torch.cuda.stream(self._copies):
            target.copy_(source, non_blocking=True)
        copied = torch.cuda.Event(blocking=True)  # so that who waits leaves its core to others
        copied.record(self._copies)
        return copied

    def join(self, copied: Moment, target: Tensor) -> None:
        """See `Link.join`."""
        computation = torch.cuda.current_stream(self._device)
        computation.wait_event(copied)  # type: ignore[arg-type]  # one of `begin`
        target.record_stream(computation)  # else its memory could be given away too early

    def now(self) -> torch.cuda.Event:
        """See `Link.now`."""
        moment = torch.cuda.Event(enable_timing=True)
        moment.record(torch.cuda.current_stream(self._device))
        return moment


def link_to(device: torch.device) -> Link | None:
    """The way to a device; None for those that have no memory, or no streams, of their own."""
    return CudaLink(device) if device.type == "cuda" else None


@dataclass(slots=True)
class _Slot:
    """Memory of the device for one batch, and the batch that is copied there."""

    target: Tensor | None = None
    source: Tensor | None = None
    copied: Moment | None = None
    used: Moment | None = None
    """When the computation had taken what was there before."""

    def load(self, source: Tensor, link: Link) -> None:
        """Start to copy a batch, which is held until it has been copied."""
        self.release()
        if self.target is None or not _alike(self.target, source):
            self.target, self.used = link.target(source), None
        self.source = source
        self.copied = link.begin(source, self.target[: len(source)], self.used)

    def take(self, link: Link) -> Tensor:
        """The batch, on the device."""
        assert self.target is not None and self.source is not None and self.copied is not None
        link.join(self.copied, self.target)
        return self.target[: len(self.source)]

    def release(self) -> None:
        """Wait for the copy and let go of the host's memory."""
        if self.copied is not None:
            self.copied.synchronize()
        self.source = None


def _alike(target: Tensor, source: Tensor) -> bool:
    shapes = target.shape[1:] == source.shape[1:] and target.stride() == source.stride()
    return shapes and len(target) >= len(source)


def fed(batches: Iterator[Tensor], count: int, link: Link) -> Generator[Tensor, None, None]:
    """Batches of pixels on the device, up to `AHEAD` of them copied in advance.

    Each is valid until the next one is asked for: what is computed from it has been launched then.

    Args:
        batches: (B, C, H, W) uint8 in pinned memory, `count` of them; waited for in a thread.
    """
    slots = [_Slot() for _ in range(AHEAD + 1)]

    def load(slot: _Slot) -> _Slot:
        slot.load(next(batches), link)
        return slot

    try:
        with closing(
            prefetched(load, islice(cycle(slots), count), threads=1, ahead=AHEAD)
        ) as loaded:
            for slot in loaded:
                yield slot.take(link)
                slot.used = link.now()
    finally:
        for slot in slots:
            slot.release()
