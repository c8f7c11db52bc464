"""A split as a device delivers it: ids, labels and, where they fit, all pixels lie there."""

import logging
from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from fftune.data.device_feed import Link, fed
from fftune.data.engines.choice import size_of
from fftune.data.engines.spec import Pixels
from fftune.data.official_split import OfficialSplit
from fftune.errors import DataError

log = logging.getLogger(__name__)
PIECE = 2**24
"""Bytes of pixels that are prepared at once: at 32 pixels 42 batches of 128 for the launches of
one, in 0.1 GB as floats."""
FILL = 1024
"""Images a batch while the device is filled."""


class DeviceSplit:
    """The examples of a split on a device, whole: every epoch may give a rank any of them.

    Args:
        rows: (N,) int64 positions in the part.
        pixels: what delivers images to the host.
        crops: images are cropped at random where they are decoded, and never twice alike.
    """

    def __init__(
        self,
        part: OfficialSplit,
        rows: Tensor,
        pixels: Pixels,
        link: Link,
        device: torch.device,
        *,
        crops: bool,
    ) -> None:
        self.ids, self.y = part.ids_of(rows).to(device), part.y[rows].to(device)
        self.levels = torch.tensor(float(part.source.levels), device=device)
        """A tensor, as a device multiplies by the reciprocal of a number, which rounds twice."""
        self._part, self._rows, self._engine = part, rows, pixels
        self._link, self._device, self._crops = link, device, crops

    @property
    def orders(self) -> torch.device:
        """The device that needs the order of an epoch: the host, if decoders follow it."""
        return torch.device("cpu") if self._held is None else self._device

    def pieces(self, positions: Tensor, size: int) -> Iterator[Tensor]:
        """Pixels on the device, each valid until the next are asked for.

        Args:
            positions: (n,) int64 into the rows, where `orders` says.
            size: images of a batch. Pieces hold one batch, or several.
        """
        held = self._held
        if held is None:
            batches = positions.split(size)
            hosts = self._engine.batches([self._rows[batch] for batch in batches])
            yield from fed(hosts, len(batches), self._link)
            return
        several = max(1, PIECE // (size * held[0].numel()))
        for now in positions.split(size * several):
            yield held.index_select(0, now)

    @cached_property
    def _held(self) -> Tensor | None:
        """(N, C, H, W) uint8 on the device; None if that has not the room."""
        size = size_of(self._part, self._rows)
        if self._crops or not size or size > self._link.room():
            return None
        held: Tensor | None = None
        begun = 0
        for batch in self._engine.batches(self._rows.split(FILL)):
            if held is None:
                shape = (len(self._rows), *batch.shape[1:])
                held = torch.empty(shape, dtype=torch.uint8, device=self._device)
            if held.shape[1:] != batch.shape[1:]:
                raise DataError("images of a set differ in size; an image_size makes them alike")
            held[begun : begun + len(batch)].copy_(batch)
            begun += len(batch)
        name = self._part.source.name
        log.info("the %d images of %r stay on the device, %.2f GB", begun, name, size / 1e9)
        return held
