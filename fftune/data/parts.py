"""An official part of a data set: its labels and images, none of them decoded yet."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fftune.config import DataSpec, Split
from fftune.data.dataset import Dataset, Source
from fftune.data.free_memory import check_fits
from fftune.data.images import Frame, Images, Pixels
from fftune.data.splits import split_rows
from fftune.errors import DataError

log = logging.getLogger(__name__)

PartName = Literal["train", "test", "whole"]
"""`whole` where a data set has no official division."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """What a source gives: examples in their official order, so that an id is a position."""

    source: Source
    name: PartName
    y: Tensor
    """(N,) int64."""
    images: Images
    ids: Tensor | None = None
    """(N,) int64; none stands for the positions themselves."""

    def __len__(self) -> int:
        return len(self.y)

    def framed(self, frame: Frame | None) -> "Part":
        """The same part with every image framed after decoding."""
        return replace(self, images=self.images.framed(frame)) if frame else self

    def read(self, rows: Tensor, split: Split) -> Dataset:
        """Decode the images at these positions into memory.

        Raises:
            DataError: one cannot be decoded, they are not all of one size, or more than fits.
        """
        rows = rows.sort().values
        if not len(rows):
            raise DataError(f"data set {self.source.name!r} has no examples for {split!r}")
        first = self.images.read(int(rows[0])).pixels
        check_fits(self.source.name, len(rows), len(rows) * first.nbytes)
        height, width, channels = first.shape
        pixels = np.empty((len(rows), channels, height, width), np.uint8)
        converted = 0
        for position, i in enumerate(rows.tolist()):
            picture = self.images.read(i)
            pixels[position] = self.checked(picture.pixels, i, first.shape).transpose(2, 0, 1)
            converted += picture.converted
        if converted:
            log.info("%s: %d grey images became colour", self.source.name, converted)
        return Dataset(
            source=self.source,
            split=split,
            ids=self.ids_of(rows),
            pixels=torch.from_numpy(pixels),
            y=self.y[rows],
        )

    def ids_of(self, rows: Tensor) -> Tensor:
        """(len(rows),) int64, the ids at these positions."""
        return rows if self.ids is None else self.ids[rows]

    def checked(self, pixels: Pixels, i: int, shape: tuple[int, ...]) -> Pixels:
        """The image at position `i`, which must have this (H, W, C)."""
        if pixels.shape != shape:
            height, width = pixels.shape[:2]
            raise DataError(
                f"image {self.images.where(i)!r} is {width} x {height}, another of its set "
                f"{shape[1]} x {shape[0]}; an image_size makes them alike"
            )
        return pixels


Parts = Mapping[PartName, Part]
"""`{"train", "test"}`, one of them, or `{"whole"}`."""


class LazyParts(Parts):
    """Parts that are opened when they are asked for, as that may take minutes."""

    def __init__(self, openers: Mapping[PartName, Callable[[], Part]]) -> None:
        self._openers = openers

    def __getitem__(self, name: PartName) -> Part:
        return self._openers[name]()

    def __iter__(self) -> Iterator[PartName]:
        return iter(self._openers)

    def __len__(self) -> int:
        return len(self._openers)


def place(parts: Parts, spec: DataSpec, split: Split) -> tuple[Part, Tensor]:
    """The official part that a split comes from, and its (N,) int64 positions there.

    Raises:
        DataError: the part is missing, or too small for the parts asked for.
    """
    official_test = "whole" not in parts
    wanted: PartName = ("test" if split == "test" else "train") if official_test else "whole"
    if wanted not in parts:
        raise DataError(f"data set {spec.name!r} has no {wanted} part, only {', '.join(parts)}")
    part = parts[wanted]
    if wanted == "test":
        return part, torch.arange(len(part))
    return part, split_rows(part.y, spec, official_test=official_test)[split]
