"""The door to FFCV: its compiled decoders, without the loader around them.

FFCV's loader reuses a batch's memory for the next one, blocks for ever when its thread fails,
leaves threads behind and sets the thread count of the whole process. Its decoders do none of
that: compiled machine code that fills an array it is given. So the threads and the memory here
are our own, and the rest is FFCV's.
"""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fftune.data.buffer_pool import BufferPool, Memory, aligned
from fftune.data.images import Pixels
from fftune.data.prefetch import cores, prefetched
from fftune.errors import DataError, StorageError
from fftune.storage import in_home, may_write

log = logging.getLogger(__name__)
COMPILED = "~/.cache/fftune/numba"
"""Machine code, shared by the processes of this machine."""


@cache
def why_missing() -> str:
    """The reason why FFCV cannot be used here, and the remedy; empty if it can."""
    try:
        _ffcv()
    except (ImportError, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return (
            f"FFCV is not usable here ({reason}): install the system packages libopencv-dev, "
            "libturbojpeg0-dev and pkg-config, then the extra 'fftune[ffcv]'"
        )
    return ""


class FfcvDecoder:
    """Decodes batches of pixels from a beton (FFCV file).

    Args:
        resized_crop: the side of FFCV's RandomResizedCrop; none delivers images as stored.
        memory: where the memory of batches comes from.
        channels_first: bring channels first in memory too; False leaves that to a device.

    Raises:
        DataError: FFCV is missing, or the images differ in size and are not to be cropped.
    """

    def __init__(
        self,
        beton: Path,
        *,
        resized_crop: int | None = None,
        workers: int | None,
        memory: Memory = aligned,
        channels_first: bool = True,
    ) -> None:
        if missing := why_missing():
            raise DataError(f"data.engine: {missing}")
        ffcv = _ffcv()
        reader = ffcv["Reader"](str(beton))
        pages = ffcv["OSCacheManager"](reader)
        field = reader.handlers["image"]
        if resized_crop is None:
            operation = field.get_decoder_class()()
        else:
            operation = ffcv["RandomResizedCrop"]((resized_crop, resized_crop))
        self._records = reader.metadata["f0"]
        self._pages = pages.schedule_epoch([]).__enter__().state
        self._threads = workers or cores()
        operation.accept_field(field)
        operation.accept_globals(self._records, pages.compile_reader())
        try:
            _, wanted = operation.declare_state_and_memory(ffcv["INITIAL_STATE"])
        except TypeError:
            raise DataError(
                f"beton {str(beton)!r} holds images of several sizes; "
                "augmentation.resized_crop, or write.image_size, makes them alike"
            ) from None
        images, *scratch = wanted if isinstance(wanted, tuple) else (wanted,)
        self._shape = tuple(map(int, images.shape))
        self._scratch = int(scratch[0].shape[0]) if scratch else None
        self._channels_first = channels_first and self._scratch is None
        self._buffers, self._scratches = BufferPool(memory), BufferPool(spare=self._threads)
        self._decode = _decoder(operation)
        with warnings.catch_warnings():  # that some functions cannot be kept on disk is known
            warnings.simplefilter("ignore", ffcv["NumbaWarning"])
            self._fill(np.zeros((0, *self._shape), np.uint8), np.zeros(0, np.uint64))  # compiles

    def __call__(self, rows: NDArray[np.uint64]) -> Tensor:
        """(B, C, H, W) uint8 in memory of its own; resized crops lie there channels last."""
        stored = self._buffers.take((len(rows), *self._shape))
        self._fill(stored.numpy(), rows)
        images = stored.permute(0, 3, 1, 2)
        if not self._channels_first:
            return images
        return self._buffers.take(tuple(images.shape)).copy_(images)

    def _fill(self, images: Pixels, rows: NDArray[np.uint64]) -> None:
        if self._scratch is None:
            self._decode(rows, images, self._records, self._pages)
            return
        scratch = self._scratches.take((1, self._scratch)).numpy()
        for i in range(max(len(rows), 1)):  # one by one, so that scratch for one image will do
            now = slice(i, i + 1)
            self._decode(rows[now], (images[now], scratch), self._records, self._pages)

    def batches(self, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """The images at the positions of each batch, decoded ahead."""
        rows = (batch.numpy().astype(np.uint64) for batch in batches)
        return prefetched(self, rows, threads=self._threads)


_DECODERS: dict[type, Any] = {}
"""Decoders compiled once in a process; they serve every beton."""


def _decoder(operation: Any) -> Any:
    kind = type(operation)
    if kind not in _DECODERS:
        _DECODERS[kind] = _compile(operation.generate_code())
    return _DECODERS[kind]


def _compile(code: Any, signature: Any = None) -> Any:
    """Compile as FFCV does, but without threads inside, and keep the code if there is a place."""
    from numba import njit

    kept = bool(os.environ.get("NUMBA_CACHE_DIR"))
    return njit(signature, fastmath=True, nogil=True, error_model="numpy", cache=kept)(code)


@cache
def _ffcv() -> dict[str, Any]:
    """Import the parts of FFCV that are used, and undo the side effects of that."""
    # With TBB, which OpenCV brings, a process that ever forked hangs at its end.
    os.environ.setdefault("NUMBA_THREADING_LAYER", "omp")
    with suppress(StorageError):
        if may_write(compiled := in_home(COMPILED)):
            os.environ.setdefault("NUMBA_CACHE_DIR", str(compiled))
    from numba import config

    config.reload_config()  # type: ignore[no-untyped-call]  # somebody may have imported numba before
    threads = torch.get_num_threads()
    try:
        from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
        from ffcv.memory_managers import OSCacheManager
        from ffcv.pipeline.compiler import Compiler
        from ffcv.pipeline.graph import INITIAL_STATE
        from ffcv.reader import Reader
        from numba.core.errors import NumbaWarning
    finally:
        torch.set_num_threads(threads)
    Compiler.compile = _compile
    Compiler.num_threads = 1
    return {
        "Reader": Reader,
        "OSCacheManager": OSCacheManager,
        "RandomResizedCrop": RandomResizedCropRGBImageDecoder,
        "INITIAL_STATE": INITIAL_STATE,
        "NumbaWarning": NumbaWarning,
    }
