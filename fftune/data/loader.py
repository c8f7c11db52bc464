"""Batches of a split: one interface, three engines, the same examples in the same order."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from fftune.config import DataSpec, Engine, LoaderConfig, Split
from fftune.data.augment import augmented
from fftune.data.beton.reader import BetonImages
from fftune.data.buffer_pool import BufferPool
from fftune.data.catalog import place_framed
from fftune.data.dataset import Batch
from fftune.data.engines.ffcv_decoder import FfcvDecoder, why_missing
from fftune.data.official_split import ListedSplit, OfficialSplit
from fftune.data.prefetch import cores
from fftune.data.sampler import epoch_order, marked, share
from fftune.errors import DataError
from fftune.keyed_noise import Noise

log = logging.getLogger(__name__)
SMALL = 10**9
"""Bytes of pixels up to which a split is simply held in memory."""


class Pixels(Protocol):
    """An engine, which delivers pixels at given positions, a batch at a time, in new memory."""

    def batches(self, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """(B, C, H, W) uint8 for each (B,) int64 of positions, the consumer's to change."""


class InMemory:
    """The pixels of some positions as one uint8 tensor."""

    def __init__(self, part: OfficialSplit, rows: Tensor, split: Split) -> None:
        self._at = torch.full((len(part),), -1)
        self._at[rows.sort().values] = torch.arange(len(rows))  # the order of `OfficialSplit.read`
        self.pixels = part.read(rows, split).pixels if len(rows) else torch.zeros(0)
        self._buffers = BufferPool()

    def batches(self, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        for rows in batches:
            batch = self._buffers.take((len(rows), *self.pixels.shape[1:]))
            yield torch.index_select(self.pixels, 0, self._at[rows], out=batch)


class TorchWorkers:
    """torch's DataLoader over the images of a part, decoded by processes."""

    def __init__(self, part: OfficialSplit, *, workers: int | None) -> None:
        self._part = part
        self._workers = max(cores() - 1, 0) if workers is None else workers

    def __len__(self) -> int:
        return len(self._part)

    def __getitem__(self, row: int) -> Tensor | DataError:
        try:
            pixels = self._part.images.read(row).pixels
        except DataError as error:  # as a value: a raised one comes back as a page of text
            return error
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1)

    def batches(self, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        loader: Any = torch.utils.data.DataLoader(
            self,  # type: ignore[arg-type]  # it asks for a map of positions, no more
            batch_sampler=[rows.tolist() for rows in batches],
            num_workers=self._workers,
            collate_fn=_stacked,
            generator=torch.Generator(),  # else it draws a seed from the global one
        )
        for batch in loader:
            if isinstance(batch, DataError):
                raise batch
            yield batch


def _stacked(images: list[Tensor | DataError]) -> Tensor | DataError:
    pixels = [image for image in images if isinstance(image, Tensor)]
    errors = [image for image in images if isinstance(image, DataError)]
    if errors:
        return errors[0]
    if len({image.shape for image in pixels}) > 1:
        return DataError("images of one batch differ in size; an image_size makes them alike")
    return torch.stack(pixels)


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
    ) -> None:
        self.part, self.rows, self.config = part, rows, config
        self._pixels, self._device = pixels, torch.device(device)
        self._buffers = BufferPool()
        self.rank, self.ranks, self._pad = rank, ranks, pad
        self._noise = Noise(config.seed).fold("train", part.source.name)

    def __len__(self) -> int:
        """Batches an epoch, for this rank."""
        return len(self._schedule(0)[0])

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
        elif isinstance(self._pixels, InMemory):
            digest.update(self._pixels.pixels.contiguous().numpy().data)
        else:
            digest.update("\n".join(map(self.part.images.where, self.rows.tolist())).encode())
        return digest.hexdigest()[:16]

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from the batch `start` on.

        Each is the consumer's to keep. Padding, where it was asked for, has negative ids. Ids
        stay on the CPU, where noise is drawn by them.
        """
        batches, padding = self._schedule(epoch)
        batches, padding = batches[start:], padding[start:]
        if not batches:
            return
        delivered = self._pixels.batches([self.rows[positions] for positions in batches])
        for positions, extra, pixels in zip(batches, padding, delivered, strict=True):
            yield self._batch(self.rows[positions], extra, pixels, epoch)

    def _schedule(self, epoch: int) -> tuple[list[Tensor], list[Tensor]]:
        """Positions in `rows` and marks of padding, a tensor a batch."""
        count, config = len(self.rows), self.config
        order = epoch_order(count, self._noise, epoch) if config.shuffle else torch.arange(count)
        mine, padding = share(order, self.rank, self.ranks, pad=self._pad)
        if config.drop_last:
            mine = mine[: len(mine) // config.batch_size * config.batch_size]
            padding = padding[: len(mine)]
        if not len(mine):
            return [], []
        return list(mine.split(config.batch_size)), list(padding.split(config.batch_size))

    def _batch(self, rows: Tensor, padding: Tensor, pixels: Tensor, epoch: int) -> Batch:
        config, moved = self.config, self._moved
        ids, y = self.part.ids_of(rows), moved(self.part.y[rows])
        pixels = augmented(
            moved(pixels), moved(ids), config.augmentation, seed=config.seed, epoch=epoch
        )
        return marked(ids, padding), self._floats(pixels), y

    def _moved(self, values: Tensor) -> Tensor:
        """Move to the device; to an accelerator through pinned memory, without waiting."""
        if self._device.type != "cuda":
            return values.to(self._device)
        return values.pin_memory().to(self._device, non_blocking=True)

    def _floats(self, pixels: Tensor) -> Tensor:
        """Pixels in [0, 1], float32, as they lie in memory."""
        levels = self.part.source.levels
        if self._device.type != "cpu":
            return pixels.to(torch.float32).div_(levels)
        last = not pixels.is_contiguous()
        lie = (0, 2, 3, 1) if last else (0, 1, 2, 3)
        source = pixels.permute(lie)
        x = self._buffers.take(tuple(source.shape), torch.float32)
        # In one pass, where torch makes floats of all bytes before it divides the first.
        np.divide(
            source.numpy(), np.float32(levels), out=x.numpy(), dtype=np.float32, casting="unsafe"
        )
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
    pixels = _engine(part, rows, split, config)
    return Loader(part, rows, pixels, config, rank=rank, ranks=ranks, pad=pad, device=device)


def _rows_of(part: OfficialSplit, rows: Tensor, ids: Tensor) -> Tensor:
    """The positions of these ids among those of a split."""
    known = dict(zip(part.ids_of(rows).tolist(), rows.tolist(), strict=True))
    if foreign := [i for i in ids.tolist() if i not in known]:
        raise DataError(f"id {foreign[0]} is not in this split of {part.source.name!r}")
    return torch.tensor([known[i] for i in ids.tolist()], dtype=torch.int64)


def _engine(part: OfficialSplit, rows: Tensor, split: Split, config: LoaderConfig) -> Pixels:
    crop = config.augmentation.resized_crop
    engine = _chosen(part, rows, config)
    if crop is not None and engine != "ffcv":
        raise DataError("augmentation.resized_crop: only the engine 'ffcv' has it")
    if engine == "memory":
        return InMemory(part, rows, split)
    if engine == "torch":
        return TorchWorkers(part, workers=config.workers)
    if not isinstance(part.images, BetonImages):
        name = part.source.name
        raise DataError(f"data.engine: {name!r} has no beton; `fftune data write {name}` makes one")
    if part.images.frame is not None:
        raise DataError(f"data.image_size: {str(part.images.beton.path)!r} is stored otherwise")
    beton = part.images.beton.path
    return FfcvDecoder(beton, resized_crop=crop, workers=config.workers)


def _chosen(part: OfficialSplit, rows: Tensor, config: LoaderConfig) -> Engine:
    if config.engine != "auto":
        return config.engine
    if config.augmentation.resized_crop is not None:
        return "ffcv"
    if not len(rows) or len(rows) * part.images.read(int(rows[0])).pixels.nbytes <= SMALL:
        return "memory"
    if isinstance(part.images, BetonImages) and not why_missing():
        return "ffcv"
    _say_once(part.source.name, why_missing() or "it has no beton")
    return "torch"


@cache
def _say_once(name: str, reason: str) -> None:
    log.warning("%s is read by torch's DataLoader, 6 to 30 times slower: %s", name, reason)
