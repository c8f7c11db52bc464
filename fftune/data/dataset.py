"""A data set in memory: pixels as stored, made floats a batch at a time."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fftune.config import InputSpec, Split
from fftune.errors import DataError
from fftune.names import is_label

Batch = tuple[Tensor, Tensor, Tensor]
"""ids (B,) int64, x (B, C, H, W) float32 in [0, 1], y (B,) int64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Description of a data set: its name, classes and normalisation."""

    name: str
    classes: tuple[str, ...]
    levels: int = 255
    """Largest stored value, which is a pixel of 1."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Mean and deviation of pixels in [0, 1], for each channel; nets normalise by them."""
    division: tuple[int, int] | None = field(default=None, metadata={"since": 2})
    """Default numbers of training and validation examples, for a set without official parts. None:
    the set stays whole."""

    def __post_init__(self) -> None:
        for name in self.classes:
            if not is_label(name):
                shown = f"{name[:40]!r}..." if len(name) > 40 else repr(name)
                raise DataError(f"data set {self.name!r}: {shown} cannot be the name of a class")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Examples of one split, in the order of their ids."""

    source: Source
    split: Split
    ids: Tensor
    """(N,) int64: positions in the data set's official order."""
    pixels: Tensor
    """(N, C, H, W) uint8, from 0 to `source.levels`."""
    y: Tensor
    """(N,) int64."""
    origin: str = ""
    """Files that its name stands for, and what became of the images; empty where there are none."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    @property
    def inputs(self) -> InputSpec:
        """Shape, classes and normalisation for a net."""
        source = self.source
        return InputSpec(
            shape=self.shape, classes=len(source.classes), mean=source.mean, std=source.std
        )

    def select(self, rows: Tensor, split: Split) -> "Dataset":
        """Select the examples at these positions as another split, in the order of their ids."""
        rows = rows.sort().values
        return replace(
            self, split=split, ids=self.ids[rows], pixels=self.pixels[rows], y=self.y[rows]
        )

    def batches(self, size: int, order: Tensor | None = None) -> Iterator[Batch]:
        """All examples, `size` at a time; the last batch may be smaller.

        Args:
            order: (N,) int64 positions, default as they stand.
        """
        order = torch.arange(len(self)) if order is None else order
        for rows in order.split(size):
            x = self.pixels[rows].to(torch.float32) / self.source.levels
            yield self.ids[rows], x, self.y[rows]

    def hash(self) -> str:
        """16 hex digits of ids, pixels and labels: equal wherever the examples are equal."""
        content = hashlib.sha256(self.pixels.contiguous().numpy().data)
        shapes = np.broadcast_to(np.array(self.shape), (len(self), 3))
        return content_hash(
            self.source.levels, shapes, self.ids.numpy(), self.y.numpy(), content.digest()
        )


def content_hash(
    levels: int,
    shapes: NDArray[np.int64],
    ids: NDArray[np.int64],
    y: NDArray[np.int64],
    pixels: bytes,
) -> str:
    """16 hex digits that name these examples.

    Args:
        shapes: (N, 3), of each image (C, H, W).
        pixels: SHA-256 of all pixels, channels first.
    """
    digest = hashlib.sha256(repr((levels, len(ids))).encode())
    for part in (shapes, ids, y):
        digest.update(np.ascontiguousarray(part, np.dtype("<i8")).data)
    digest.update(pixels)
    return digest.hexdigest()[:16]
