"""Betons (FFCV files) as official parts: `FOLDER/{train,test,whole,clean}.beton`."""

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from os.path import lexists
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from fftune.config import substandard_name
from fftune.data.beton.format import VERSION, Beton, read_beton
from fftune.data.beton.manifest import Made, Manifest, read_manifest, verified
from fftune.data.images import Central, DecodedImage, Frame, Images
from fftune.data.official_split import LazySplits, OfficialSplit, PartName, Parts
from fftune.errors import DataError
from fftune.stored_file import advised

CLEAN: PartName = "clean"
KINDS = ("noise", "mislabeling", "poisoning", "poisoning-l2", "helped", "helped-l2")
"""Endings of the names of substandard sets."""


@dataclass(frozen=True, slots=True, eq=False)
class BetonImages:
    """Images of a verified beton (FFCV file)."""

    beton: Beton
    manifest: Manifest
    frame: Frame | None = None

    def __len__(self) -> int:
        return len(self.beton.y)

    def read(self, i: int) -> DecodedImage:
        pixels = self.beton.pixels(i)
        if self.frame is None:
            return DecodedImage(pixels)
        from PIL import Image

        framed = np.asarray(self.frame(Image.fromarray(pixels.squeeze())))
        return DecodedImage(framed.reshape(*framed.shape[:2], pixels.shape[2]))

    def where(self, i: int) -> str:
        return f"{self.beton.path}, example {i}"

    def stored(self, i: int) -> None:
        return None

    def framed(self, frame: Frame) -> Images:
        """The images themselves where they were framed so before they were written."""
        write = self.manifest.write
        if write.image_size is None or self.manifest.shape is None:
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
        return _reopened, (self.beton.path, self.manifest, self.frame)


def stored_parts(folder: Path) -> Parts | None:
    """Betons of a folder, each verified when it is opened; None if there are none."""
    names: tuple[PartName, ...] = get_args(PartName)
    found = {name: folder / f"{name}.beton" for name in names}
    here = {name: partial(stored_part, path) for name, path in found.items() if lexists(path)}
    return LazySplits(here) if here else None


def stored_part(path: Path) -> OfficialSplit:
    """Open one beton, verified.

    Raises:
        DataError: it is damaged, its manifest speaks of another file, or it is substandard and
            what it was made of is not beside it; or the folder's name, or a beton beside it, says
            that it belongs to another set.
    """
    manifest = verified(path)
    beton = read_beton(path)
    names: dict[str, PartName] = {name: name for name in get_args(PartName)}
    wrong = _why_another(beton, manifest)
    if wrong or manifest.part not in names:
        wrong = wrong or f"a part {manifest.part!r}"
        line = f"beton {str(path)!r} does not hold what its manifest says: {wrong}"
        raise DataError(advised("beton", line))
    _check_classes(path, manifest)
    if path.stem != CLEAN:
        _check_parent(path, manifest, beton)
        _check_kind(path, manifest)
    return OfficialSplit(
        source=manifest.source,
        name=names[manifest.part],
        y=torch.from_numpy(beton.y),
        images=BetonImages(beton, manifest),
        ids=torch.from_numpy(beton.ids),
        origin=f"the FFCV file {str(path)!r}",
    )


def _why_another(beton: Beton, manifest: Manifest) -> str:
    """The difference between a beton and its manifest; empty if there is none."""
    classes, y = len(manifest.source.classes), beton.y
    if manifest.beton_version != VERSION:
        return f"version {manifest.beton_version} of the format, not {VERSION}"
    if manifest.count != len(y):
        return f"{manifest.count:,} examples, not {len(y):,}"
    if len(y) and not 0 <= y.min() <= y.max() < classes:
        return f"{classes} classes, and labels from {y.min()} to {y.max()}"
    if manifest.per_class != tuple(np.bincount(y, minlength=classes).tolist()):
        return "other counts of the classes"
    if len(y) and (beton.ids.min() < 0 or len(np.unique(beton.ids)) < len(y)):
        return "ids that are negative or stand twice"
    return ""


def _check_parent(path: Path, manifest: Manifest, beton: Beton) -> None:
    """Check that a substandard part is beside the clean one that it was made of.

    Raises:
        DataError: it does not, as in sets that an earlier release has written.
    """
    clean, again = path.with_name(f"{CLEAN}.beton"), "`fftune data write` makes the set again"
    if manifest.made is None:
        if manifest.part == "train" and lexists(clean):
            raise DataError(f"beton {str(path)!r} has a {clean.name!r} of another set; {again}")
        return
    if manifest.part != "train" or not lexists(clean):
        lacks = f"no {clean.name!r} beside it for the examples that validate or test"
        raise DataError(f"beton {str(path)!r} is substandard, and has {lacks}; {again}")
    parent = stored_part(clean)
    assert isinstance(parent.images, BetonImages) and parent.ids is not None
    same = np.array_equal(parent.ids.numpy(), beton.ids)
    if not same or parent.images.manifest.content != manifest.made.parent:
        raise DataError(f"beton {str(path)!r} was not made of its {clean.name!r}; {again}")


def _check_classes(path: Path, manifest: Manifest) -> None:
    """Check that labels of all parts count the same classes.

    Raises:
        DataError: they do not. A manifest that cannot be read is refused when its part is opened.
    """
    for name in get_args(PartName):
        beside = path.with_name(f"{name}.beton")
        if not lexists(beside):
            continue
        classes = manifest.source.classes
        with suppress(DataError):
            classes = read_manifest(beside).source.classes
        if classes != manifest.source.classes:
            other = f"{beside.name!r} beside it has other classes, or in another order"
            raise DataError(f"beton {str(path)!r} is of another set: {other}")


def _check_kind(path: Path, manifest: Manifest) -> None:
    """Check that a training part is substandard in the way that its folder's name says.

    Raises:
        DataError: it is of another kind or norm, or it is none where no such set was read.
    """
    wanted = _kind_in(path.parent.absolute().name)
    made = manifest.made
    held = _kind_in(manifest.source.name) if made is None else _kind_of(path, made)
    if manifest.part == "train" and wanted and held != wanted:
        raise DataError(
            f"beton {str(path)!r} holds {held or 'no substandard data'}, and its folder is called "
            f"{path.parent.name!r}; `fftune data write` makes the set again"
        )


def _kind_in(name: str) -> str:
    return next((kind for kind in KINDS if name.endswith(f"-{kind}")), "")


def _kind_of(path: Path, made: Made) -> str:
    try:
        norm = made.threat.norm
    except DataError as error:
        raise DataError(f"beton {str(path)!r}: {error}") from None
    return substandard_name("", made.kind, norm).removeprefix("-")


def _reopened(path: Path, manifest: Manifest, frame: Frame | None) -> BetonImages:
    return BetonImages(read_beton(path), manifest, frame)
