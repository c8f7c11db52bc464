"""Images from files and arrays, one at a time, as uint8 with channels last.

What PIL reads without complaint but another reader would read otherwise is refused here: a
16-bit image, a colour image in a grey set. Grey images of a colour set are converted and counted.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import IO, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from fftune.errors import DataError

Pixels = NDArray[np.uint8]
"""(H, W, C)."""
Frame = Callable[[Image.Image], Image.Image]

GREY = frozenset({"1", "L", "LA"})
ORIENTATION = 0x0112
"""EXIF's number of the tag that says how a photograph is to be turned."""
MOVING = ("GIF", "PNG", "TIFF", "WEBP")
LOOKED_AT, MOST = 200, 20_000
"""Images whose headers say if a set has colours, and the most of a grey set that all are read."""
COLOUR = frozenset({"RGB", "RGBA", "RGBX", "P", "PA", "CMYK", "YCbCr", "HSV", "LAB"})


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A decoded image."""

    pixels: Pixels
    converted: bool = False
    """Was a grey one made colour?"""
    dropped: tuple[str, ...] = ()
    """Things that the file has and pixels do not, as torchvision's `ImageFolder` drops them."""


class Stored(NamedTuple):
    """Bytes of an image as a file holds them, and its name in the set."""

    name: str
    """Equal wherever the set lies, as in "cat/1.png"."""
    content: bytes


class Images(Protocol):
    """A sequence of images, decoded when they are asked for."""

    def __len__(self) -> int: ...

    def read(self, i: int) -> DecodedImage:
        """Raises `DataError` with the image's place when it cannot be decoded."""

    def where(self, i: int) -> str:
        """The image's place, for messages."""

    def stored(self, i: int) -> Stored | None:
        """Encoded bytes of an image, unframed; None where only its pixels are kept.

        Raises:
            DataError: they cannot be read.
        """

    def framed(self, frame: Frame) -> "Images":
        """Frame each image after decoding.

        Raises:
            DataError: they are pixels already, of the size that they have.
        """


@dataclass(frozen=True, slots=True)
class Files:
    """Image files, framed after decoding."""

    paths: Sequence[str]
    channels: int
    frame: Frame | None = None
    root: str = ""
    """Folder that the images' names are relative to."""

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, i: int) -> DecodedImage:
        try:
            with open(self.paths[i], "rb") as file:
                return decode(file, self.channels, self.where(i), self.frame)
        except OSError as error:
            raise DataError(f"image {self.where(i)!r}: {error.strerror or error}") from None

    def opened(self, i: int) -> IO[bytes]:
        """The file of an image."""
        return open(self.paths[i], "rb")

    def where(self, i: int) -> str:
        return self.paths[i]

    def stored(self, i: int) -> Stored:
        try:
            with self.opened(i) as file:
                return Stored(os.path.relpath(self.paths[i], self.root or None), file.read())
        except OSError as error:
            raise DataError(f"image {self.where(i)!r}: {error.strerror or error}") from None

    def framed(self, frame: Frame) -> "Images":
        return replace(self, frame=frame)


@dataclass(frozen=True, slots=True)
class Array:
    """Images that are in memory already, (N, H, W, C)."""

    name: str
    pixels: NDArray[np.uint8]
    frame: Frame | None = None
    """The frame that they were made with."""

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, i: int) -> DecodedImage:
        return DecodedImage(self.pixels[i])

    def where(self, i: int) -> str:
        return f"{self.name}, image {i}"

    def stored(self, i: int) -> None:
        return None

    def framed(self, frame: Frame) -> "Images":
        if frame == self.frame:
            return self
        raise DataError(f"the images of {self.name!r} have a size of their own, and no other")


def decode(file: IO[bytes], channels: int, where: str, frame: Frame | None) -> DecodedImage:
    """One image, with `channels` 1 or 3.

    Raises:
        DataError: it is damaged, has 16 bits a channel, or has colours in a grey set.
    """
    refuse_truncated()
    try:
        with Image.open(file) as image:
            grey = is_grey(image, where)
            if channels == 1 and not grey:
                raise DataError(f"image {where!r} has colours, but its set is grey")
            dropped = _dropped(image)
            whole = image.convert("L" if channels == 1 else "RGB")
    except DataError:
        raise
    except Exception as error:  # SyntaxError, struct.error and others: PIL's decoders are many
        told = str(error) or type(error).__name__
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else told
        raise DataError(f"image {where!r} cannot be decoded: {reason}") from error
    pixels = np.asarray(whole if frame is None else frame(whole))
    return DecodedImage(
        pixels.reshape(*pixels.shape[:2], channels),
        converted=grey and channels == 3,
        dropped=dropped,
    )


def _dropped(image: Image.Image) -> tuple[str, ...]:
    """Parts of an opened image that conversion to grey or colour drops."""
    found = []
    if "exif" in image.info and image.getexif().get(ORIENTATION, 1) != 1:
        found.append("an orientation in EXIF")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        found.append("transparency")
    if image.mode == "CMYK":
        found.append("inks of CMYK")
    if image.format in MOVING and getattr(image, "is_animated", False):
        found.append("further frames")
    return tuple(found)


def refuse_truncated() -> None:
    """Have PIL refuse half an image, before each one, whatever a user's file has set.

    The switch is the process's and stays off: given back after each image, it would be on while
    another thread decodes.
    """
    ImageFile.LOAD_TRUNCATED_IMAGES = False


@cache
def suffixes() -> frozenset[str]:
    """The endings, in small letters, of what PIL can open."""
    return frozenset(
        end for end, kind in Image.registered_extensions().items() if kind in Image.OPEN
    )


def is_grey(image: Image.Image, where: str) -> bool:
    """True if an opened image has one channel.

    Raises:
        DataError: its mode is none that 8 bits a channel can hold.
    """
    if image.mode not in GREY | COLOUR:
        raise DataError(f"image {where!r} has mode {image.mode!r}, expected 8 bits a channel")
    return image.mode in GREY


def has_colour(count: int, opened: Callable[[int], IO[bytes]]) -> bool:
    """True if one of `count` images has more than one channel, or there is none.

    Headers of up to `LOOKED_AT` evenly spaced ones are read, and, if these are grey, of all in a
    set of up to `MOST`. Decoding a colour image that was not among them is a `DataError`.
    """
    few = range(0, count, max(1, count // LOOKED_AT))
    every = range(count if count <= MOST else 0)
    for i in (*few, *every):
        # What cannot be read is told with its place when it is decoded.
        with suppress(Exception), opened(i) as file, Image.open(file) as image:
            if not is_grey(image, ""):
                return True
    return not count


@dataclass(frozen=True, slots=True)
class Shorter:
    """Resize the shorter side to `side`, bicubic, as the authors of FastAT prepare ImageNet."""

    side: int

    def __call__(self, image: Image.Image) -> Image.Image:
        width, height = (self.side * length // min(image.size) for length in image.size)
        return image.resize((width, height), Image.Resampling.BICUBIC)


@dataclass(frozen=True, slots=True)
class Central:
    """The central square of side `crop`, black where a photograph does not reach.

    With `resize`, after torchvision made the shorter side 8/7 of it: 224 of 256, as everybody
    evaluates ImageNet, and other sizes in proportion.
    """

    crop: int
    resize: bool = True

    def __call__(self, image: Image.Image) -> Image.Image:
        from torchvision.transforms import functional

        if self.resize:
            image = functional.resize(image, [round(self.crop * 8 / 7)])
        cut: Image.Image = functional.center_crop(image, [self.crop])
        return cut
