"""Choice of the engine that delivers the pixels of a split."""

import logging
from functools import cache

from torch import Tensor

from fftune.config import Engine, LoaderConfig, Split
from fftune.data.beton.reader import BetonImages
from fftune.data.buffer_pool import Memory, aligned
from fftune.data.engines.ffcv_decoder import FfcvDecoder, why_missing
from fftune.data.engines.held_pixels import HeldPixels
from fftune.data.engines.spec import Pixels
from fftune.data.engines.torch_workers import TorchWorkers
from fftune.data.official_split import OfficialSplit
from fftune.errors import DataError

log = logging.getLogger(__name__)
SMALL = 10**9
"""Bytes of pixels up to which a split is simply held in memory."""


def engine_of(
    part: OfficialSplit,
    rows: Tensor,
    split: Split,
    config: LoaderConfig,
    *,
    memory: Memory = aligned,
    channels_first: bool = True,
) -> Pixels:
    """The engine that the settings name, or the one that suits the split.

    Args:
        memory: where the memory of batches comes from.
        channels_first: bring channels first in memory too; False leaves that to a device.

    Raises:
        DataError: it cannot deliver the split.
    """
    crop = config.augmentation.resized_crop
    engine = _chosen(part, rows, config)
    if crop is not None and engine != "ffcv":
        raise DataError("augmentation.resized_crop: only the engine 'ffcv' has it")
    if engine == "memory":
        return HeldPixels(part, rows, split, memory)
    if engine == "torch":
        return TorchWorkers(part, workers=config.workers, memory=memory)
    if not isinstance(part.images, BetonImages):
        name = part.source.name
        raise DataError(f"data.engine: {name!r} has no beton; `fftune data write {name}` makes one")
    if part.images.frame is not None:
        raise DataError(f"data.image_size: {str(part.images.beton.path)!r} is stored otherwise")
    return FfcvDecoder(
        part.images.beton.path,
        resized_crop=crop,
        workers=config.workers,
        memory=memory,
        channels_first=channels_first,
    )


def size_of(part: OfficialSplit, rows: Tensor) -> int:
    """Bytes of a split's pixels as uint8, if all its images are as large as the first."""
    return len(rows) * part.images.read(int(rows[0])).pixels.nbytes if len(rows) else 0


def _chosen(part: OfficialSplit, rows: Tensor, config: LoaderConfig) -> Engine:
    if config.engine != "auto":
        return config.engine
    if config.augmentation.resized_crop is not None:
        return "ffcv"
    if size_of(part, rows) <= SMALL:
        return "memory"
    if isinstance(part.images, BetonImages) and not why_missing():
        return "ffcv"
    _say_once(part.source.name, why_missing() or "it has no beton")
    return "torch"


@cache
def _say_once(name: str, reason: str) -> None:
    log.warning("%s is read by torch's DataLoader, 6 to 30 times slower: %s", name, reason)
