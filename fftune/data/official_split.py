"""Official parts of a data set: labels and images, none of them decoded yet."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fftune.config import DataSpec, InputSpec, Split
from fftune.data.dataset import Dataset, Source
from fftune.data.images import DecodedImage, Frame, Images, Pixels
from fftune.data.memory_check import check_fits
from fftune.data.splits import sized, split_rows
from fftune.errors import DataError

log = logging.getLogger(__name__)

LOOKED_FOR = 2000
"""Images after a bad one that are tried, to count the bad ones."""
PartName = Literal["train", "test", "whole", "clean"]
"""Names of official parts: `whole` is a data set without an official division. In a substandard set
`train` is the substandard copy, and `clean` the training part, or the whole set, that it was made
of."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OfficialSplit:
    """Examples of one official part in their official order, so that an id is a position."""

    source: Source
    name: PartName
    y: Tensor
    """(N,) int64."""
    images: Images
    ids: Tensor | None = None
    """(N,) int64; None: the positions themselves."""
    origin: str = ""
    """The files that it was found in, what was left out of them, and how labels were numbered; in
    words, and empty where it comes from no files."""
    asked: str = ""
    """Arguments of `fftune data write` that write the same images."""

    def __len__(self) -> int:
        return len(self.y)

    def framed(self, frame: Frame | None) -> "OfficialSplit":
        """Frame every image of the part after decoding."""
        return replace(self, images=self.images.framed(frame)) if frame else self

    def read(self, rows: Tensor, split: Split) -> Dataset:
        """Decode the images at these positions into memory.

        Raises:
            DataError: one cannot be decoded, they are not all of one size, or more than fits.
        """
        rows = rows.sort().values
        if not len(rows):
            raise DataError(_nothing_for(self.source.name, split))
        first = self._read(rows, 0).pixels
        check_fits(self.source.name, len(rows), len(rows) * first.nbytes)
        height, width, channels = first.shape
        pixels = np.empty((len(rows), channels, height, width), np.uint8)
        changes: Counter[str] = Counter()
        for position, i in enumerate(rows.tolist()):
            picture = self._read(rows, position)
            pixels[position] = self.checked(picture.pixels, i, first.shape).transpose(2, 0, 1)
            changes.update(picture.dropped)
            changes.update(["grey"] if picture.converted else [])
        said = [f"{width} x {height} pixels", *_said(changes)]
        for line in said[1:]:
            log.info("%s: %s", self.source.name, line)
        return Dataset(
            source=self.source,
            split=split,
            ids=self.ids_of(rows),
            pixels=torch.from_numpy(pixels),
            y=self.y[rows],
            origin=f"{self.origin}; {'; '.join(said)}" if self.origin else "",
        )

    def _read(self, rows: Tensor, position: int) -> DecodedImage:
        """An image.

        Raises:
            DataError: it is bad; the message counts others after it, and says how to do without.
        """
        try:
            return self.images.read(int(rows[position]))
        except DataError as error:
            if not self.asked or not self.origin:
                raise
            after = rows[position + 1 :][:LOOKED_FOR]
            bad = sum(self._is_bad(i) for i in after.tolist())
            others = f", nor can {bad:,} of the next {len(after):,}" if bad else ""
            written = f"`fftune data write {self.asked} --skip-bad` leaves such images out"
            raise DataError(f"{error}{others}; {written}") from error

    def _is_bad(self, i: int) -> bool:
        try:
            self.images.read(i)
        except DataError:
            return True
        return False

    def ids_of(self, rows: Tensor) -> Tensor:
        """(len(rows),) int64, the ids at these positions."""
        return rows if self.ids is None else self.ids[rows]

    def checked(self, pixels: Pixels, i: int, shape: tuple[int, ...]) -> Pixels:
        """The image at position `i`, which must have this (H, W, C)."""
        if pixels.shape != shape:
            height, width = pixels.shape[:2]
            raise DataError(
                f"image {self.images.where(i)!r} is {width} x {height}, another of its set "
                f"{shape[1]} x {shape[0]}; an image_size makes them alike (--data.image-size 224, "
                "of `data write` --image-size 224)"
            )
        return pixels


Parts = Mapping[PartName, OfficialSplit]
"""Official parts by name: `{"train", "test"}`, one of them, or `{"whole"}`; of a substandard set
`{"train", "clean"}`, and `"test"` if that is official."""


class ListedSplit(NamedTuple):
    """A split whose examples are known by position, and not decoded yet."""

    part: OfficialSplit
    """The official part that it is taken from."""
    rows: Tensor
    """(N,) int64 positions in `part`, ascending."""

    @property
    def inputs(self) -> InputSpec:
        """Shape, classes and normalisation for a net; the first image is decoded."""
        height, width, channels = self.part.images.read(int(self.rows[0])).pixels.shape
        source = self.part.source
        return InputSpec(
            shape=(channels, height, width),
            classes=len(source.classes),
            mean=source.mean,
            std=source.std,
        )


class LazySplits(Parts):
    """Parts that are opened when they are first asked for, as that may take minutes."""

    def __init__(self, openers: Mapping[PartName, Callable[[], OfficialSplit]]) -> None:
        self._openers = openers
        self._opened: dict[PartName, OfficialSplit] = {}

    def __getitem__(self, name: PartName) -> OfficialSplit:
        if name not in self._opened:
            self._opened[name] = self._openers[name]()
        return self._opened[name]

    def __iter__(self) -> Iterator[PartName]:
        return iter(self._openers)

    def __len__(self) -> int:
        return len(self._openers)


def place(parts: Parts, spec: DataSpec, split: Split) -> tuple[OfficialSplit, Tensor]:
    """Find the part that a split is taken from, and its (N,) int64 positions there.

    Only training examples are ever substandard: such a set is divided as its parent is, by true
    labels, and what validates or tests comes from the clean part.

    Raises:
        DataError: the part is missing, or too small for the parts asked for.
    """
    if split == "test" and "test" in parts:
        part = parts["test"]
        return part, torch.arange(len(part))
    names: tuple[PartName, ...] = ("clean", "whole", "train")
    name: PartName = next((name for name in names if name in parts), "train")
    divided = _named(parts, name, spec)
    official_test = divided.name != "whole"
    if split == "test" and official_test:
        _named(parts, "test", spec)
    spec = sized(spec, divided.source.division)
    rows = split_rows(divided.y, spec, official_test=official_test)
    if split not in rows:  # nothing of it was asked for
        raise DataError(
            f"data.train_size must be named for {spec.name!r}, which has no official parts, and "
            "data.validation_size where examples validate"
        )
    part = _named(parts, "train", spec) if name == "clean" and split == "train" else divided
    return part, rows[split]


def _named(parts: Parts, name: PartName, spec: DataSpec) -> OfficialSplit:
    """The part of this name.

    Raises:
        DataError: there is none.
    """
    if name not in parts:
        only = f"{spec.name!r} has no {name} part, only {', '.join(parts)}"
        hint = "; `--split train` evaluates that" if name == "test" and "train" in parts else ""
        raise DataError(f"data set {only}{hint}")
    return parts[name]


def _said(changes: Mapping[str, int]) -> list[str]:
    """Sentences on what became of images, by what was dropped of how many."""
    grey = changes.get("grey", 0)
    dropped = [
        f"{count:,} images have {what}, which is not heeded, as torchvision does not"
        for what, count in sorted(changes.items())
        if what != "grey"
    ]
    return ([f"{grey:,} grey images became colour"] if grey else []) + dropped


def _nothing_for(name: str, split: Split) -> str:
    size = f"; data.{split}_size says how many there are" if split != "test" else ""
    return f"data set {name!r} has no examples for {split!r}{size}"
