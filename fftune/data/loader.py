"""Batches of a split: one interface, three engines, the same examples in the same order.

On a CPU a batch is made when it is asked for. A device keeps ids, labels and, where they fit, all
pixels, and orders, crops and flips them itself; what does not fit is decoded ahead, and copied
from pinned memory beside the computation. The numbers are the same, to the bit.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from fftune.capture.upload import upload
from fftune.config import DataSpec, LoaderConfig, Split
from fftune.data.augment import augmented
from fftune.data.beton.reader import BetonImages
from fftune.data.buffer_pool import BufferPool, aligned
from fftune.data.catalog import place_framed
from fftune.data.dataset import Batch
from fftune.data.device_feed import Link, link_to
from fftune.data.device_split import DeviceSplit
from fftune.data.engines.choice import engine_of
from fftune.data.engines.held_pixels import HeldPixels
from fftune.data.engines.spec import Pixels
from fftune.data.official_split import ListedSplit, OfficialSplit
from fftune.data.sampler import epoch_order, marked, share
from fftune.data.stopwatch import HostMoment, Stopwatch
from fftune.errors import DataError
from fftune.keyed_noise import Noise


class Loader:
    """Delivers the examples of a split, epoch after epoch."""

    def __init__(
        self,
        part: OfficialSplit,
        rows: Tensor,
        pixels: Pixels,
        config: LoaderConfig,
        *,
        rank: int = 0,
        ranks: int = 1,
        pad: bool = False,
        device: str | torch.device = "cpu",
        link: Link | None = None,
    ) -> None:
        self.part, self.rows, self.config = part, rows, config
        self._pixels, self._device = pixels, torch.device(device)
        self._buffers = BufferPool()
        self.rank, self.ranks, self._pad = rank, ranks, pad
        self._noise = Noise(config.seed).fold("train", part.source.name)
        self._watch = Stopwatch(link.now if link else HostMoment)
        crops = config.augmentation.resized_crop is not None
        self._there = (
            DeviceSplit(part, rows, pixels, link, self._device, crops=crops) if link else None
        )

    def __len__(self) -> int:
        """Batches an epoch, for this rank."""
        count = len(self._share(torch.arange(len(self.rows)))[0])
        return -(-count // self.config.batch_size)

    @property
    def waited(self) -> float:
        """Seconds for which batches were waited for, since the loader was opened.

        On a CPU that is the time of making them. On CUDA it is the device's own: how long it
        stood still, or prepared images, between the last kernel of a step and the first that has
        the next batch. A host that runs ahead waits for nothing that counts. Reading it does not
        wait; the last steps may be missing.
        """
        return self._watch.seconds

    def hash(self) -> str:
        """16 hex digits that name the examples: ids, labels and images.

        Images enter by the content hash of their FFCV file, by their pixels if these are in
        memory, and by their names if a DataLoader will decode them.
        """
        digest = hashlib.sha256(self.part.source.name.encode())
        for column in (self.part.ids_of(self.rows), self.part.y[self.rows]):
            digest.update(column.numpy().data)
        if isinstance(self.part.images, BetonImages):
            digest.update(self.part.images.manifest.content.encode())
        elif isinstance(self._pixels, HeldPixels):
            digest.update(self._pixels.pixels.contiguous().numpy().data)
        else:
            digest.update("\n".join(map(self.part.images.where, self.rows.tolist())).encode())
        return digest.hexdigest()[:16]

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from the batch `start` on.

        Each is the consumer's to keep, on the loader's device, ids included. Padding, where it
        was asked for, has negative ids.
        """
        count, config, there = len(self.rows), self.config, self._there
        at = there.orders if there else "cpu"
        order = torch.arange(count, device=at)
        if config.shuffle:
            order = epoch_order(count, self._noise, epoch, at)
        positions, padding = (part[start * config.batch_size :] for part in self._share(order))
        if not len(positions):
            return
        deliver = self._on_device if there else self._on_host
        yield from self._watch.timed(deliver(positions, padding, epoch))

    def _share(self, order: Tensor) -> tuple[Tensor, Tensor]:
        """Positions in `rows` that this rank delivers in an epoch, and marks of padding."""
        mine, padding = share(order, self.rank, self.ranks, pad=self._pad)
        if self.config.drop_last:
            mine = mine[: len(mine) // self.config.batch_size * self.config.batch_size]
        return mine, padding[: len(mine)]

    def _on_host(self, positions: Tensor, padding: Tensor, epoch: int) -> Iterator[Batch]:
        size = self.config.batch_size
        batches = [self.rows[batch] for batch in positions.split(size)]
        delivered = zip(batches, padding.split(size), self._pixels.batches(batches), strict=True)
        for rows, extra, pixels in delivered:
            ids = self.part.ids_of(rows)
            x = self._floats(self._augmented(pixels, ids, epoch))
            batch = marked(ids, extra), x, self.part.y[rows]
            yield batch if self._device.type == "cpu" else self._moved(batch)

    def _on_device(self, positions: Tensor, padding: Tensor, epoch: int) -> Iterator[Batch]:
        split, size, begun = self._there, self.config.batch_size, 0
        assert split is not None
        sent, extra = positions, padding
        if split.orders.type != self._device.type:
            sent, extra = upload(positions, self._device), upload(padding, self._device)
        for pixels in split.pieces(positions, size):
            now = slice(begun, begun + len(pixels))
            ids, y = (column.index_select(0, sent[now]) for column in (split.ids, split.y))
            x = torch.div(self._augmented(pixels, ids, epoch), split.levels)
            columns = marked(ids, extra[now]), x, y
            yield from zip(*(column.split(size) for column in columns), strict=True)
            begun += len(pixels)

    def _augmented(self, pixels: Tensor, ids: Tensor, epoch: int) -> Tensor:
        config = self.config
        return augmented(pixels, ids, config.augmentation, seed=config.seed, epoch=epoch)

    def _moved(self, batch: Batch) -> Batch:
        ids, x, y = (column.to(self._device) for column in batch)
        return ids, x, y

    def _floats(self, pixels: Tensor) -> Tensor:
        """Pixels in [0, 1], float32, as they lie in memory."""
        last = not pixels.is_contiguous()
        lie = (0, 2, 3, 1) if last else (0, 1, 2, 3)
        source = pixels.permute(lie)
        x = self._buffers.take(tuple(source.shape), torch.float32)
        levels = np.float32(self.part.source.levels)
        # In one pass, where torch makes floats of all bytes before it divides the first.
        np.divide(source.numpy(), levels, out=x.numpy(), dtype=np.float32, casting="unsafe")
        return x.permute(0, 3, 1, 2) if last else x


def open_loader(
    spec: DataSpec,
    split: Split,
    config: LoaderConfig,
    *,
    ids: Tensor | None = None,
    rank: int = 0,
    ranks: int = 1,
    pad: bool = False,
    device: str | torch.device = "cpu",
) -> Loader:
    """The loader of a split.

    Args:
        ids: deliver these examples of the split only, in this order unless shuffled.
        rank, ranks: this process's share of every epoch.
        pad: make the shares of all ranks equal; see `is_padding`.

    Raises:
        DataError: the data set is missing or damaged, or the engine cannot deliver it.
    """
    found = place_framed(spec, split)
    if ids is not None:
        found = ListedSplit(found.part, _rows_of(found.part, found.rows, ids))
    return loader_of(found, split, config, rank=rank, ranks=ranks, pad=pad, device=device)


def loader_of(
    found: ListedSplit,
    split: Split,
    config: LoaderConfig,
    *,
    rank: int = 0,
    ranks: int = 1,
    pad: bool = False,
    device: str | torch.device = "cpu",
) -> Loader:
    """The loader of a split that has been opened; arguments as those of `open_loader`.

    Raises:
        DataError: the engine cannot deliver the split.
    """
    part, rows = found
    link = link_to(torch.device(device))
    memory = link.pinned if link else aligned
    pixels = engine_of(part, rows, split, config, memory=memory, channels_first=not link)
    shares = {"rank": rank, "ranks": ranks}
    return Loader(part, rows, pixels, config, **shares, pad=pad, device=device, link=link)


def _rows_of(part: OfficialSplit, rows: Tensor, ids: Tensor) -> Tensor:
    """The positions of these ids among those of a split."""
    known = dict(zip(part.ids_of(rows).tolist(), rows.tolist(), strict=True))
    if foreign := [i for i in ids.tolist() if i not in known]:
        raise DataError(f"id {foreign[0]} is not in this split of {part.source.name!r}")
    return torch.tensor([known[i] for i in ids.tolist()], dtype=torch.int64)
