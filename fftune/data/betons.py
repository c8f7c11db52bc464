"""Betons as parts of data sets: `FOLDER/{train,test,whole}.beton`, each with its sidecar."""

from dataclasses import dataclass, replace
from functools import partial
from os.path import lexists
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from fftune.data.beton import Beton, read_beton
from fftune.data.images import Central, Frame, Images, Picture
from fftune.data.parts import LazyParts, Part, PartName, Parts
from fftune.data.sidecar import Sidecar, verified
from fftune.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """The images of a verified beton."""

    beton: Beton
    sidecar: Sidecar
    frame: Frame | None = None

    def __len__(self) -> int:
        return len(self.beton.y)

    def read(self, i: int) -> Picture:
        pixels = self.beton.pixels(i)
        if self.frame is None:
            return Picture(pixels)
        from PIL import Image

        framed = np.asarray(self.frame(Image.fromarray(pixels.squeeze())))
        return Picture(framed.reshape(*framed.shape[:2], pixels.shape[2]))

    def where(self, i: int) -> str:
        return f"{self.beton.path}, example {i}"

    def framed(self, frame: Frame) -> Images:
        """The images themselves where they were framed so before they were written."""
        write = self.sidecar.write
        if write.image_size is None or self.sidecar.shape is None:
            return replace(self, frame=frame)
        if frame == Central(write.image_size, write.image_resize):
            return self
        how = "resized" if write.image_resize else "unresized"
        raise DataError(
            f"{str(self.beton.path)!r} holds squares of {write.image_size}, cut from {how} "
            "photographs, and no others (image_size, image_resize)"
        )

    def __reduce__(self) -> tuple[object, ...]:
        """A worker opens the file itself instead of receiving it."""
        return _reopened, (self.beton.path, self.sidecar, self.frame)


def stored_parts(folder: Path) -> Parts | None:
    """The betons of a folder, each verified when it is opened, or None where it has none."""
    names: tuple[PartName, ...] = get_args(PartName)
    found = {name: folder / f"{name}.beton" for name in names}
    here = {name: partial(stored_part, path) for name, path in found.items() if lexists(path)}
    return LazyParts(here) if here else None


def stored_part(path: Path) -> Part:
    """One beton, verified.

    Raises:
        DataError: it is damaged, or its sidecar speaks of another file.
    """
    sidecar = verified(path)
    beton = read_beton(path)
    classes = len(sidecar.source.classes)
    counts = np.bincount(beton.y, minlength=classes).tolist() if len(beton.y) else [0] * classes
    if tuple(counts) != sidecar.per_class:
        raise DataError(f"beton {str(path)!r} does not hold what its sidecar says")
    names: dict[str, PartName] = {name: name for name in get_args(PartName)}
    return Part(
        source=sidecar.source,
        name=names[sidecar.part],
        y=torch.from_numpy(beton.y),
        images=Stored(beton, sidecar),
        ids=torch.from_numpy(beton.ids),
    )


def _reopened(path: Path, sidecar: Sidecar, frame: Frame | None) -> Stored:
    return Stored(read_beton(path), sidecar, frame)
