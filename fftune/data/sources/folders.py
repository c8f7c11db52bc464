"""Folders of images, one for each class, and the layout of Tiny-ImageNet."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from fftune.config import nearest
from fftune.data.data_form import IMAGENET_MEAN, IMAGENET_STD, DataForm, Place
from fftune.data.dataset import Source
from fftune.data.dataset_spec import DatasetSpec
from fftune.data.files_below import entries, files_below, glimpse, has_images, is_folder
from fftune.data.images import Files, has_colour, suffixes
from fftune.data.naming import TEST, TRAIN, chosen_parts, natural
from fftune.data.official_split import OfficialSplit, PartName, Parts
from fftune.errors import DataError
from fftune.names import composed
from fftune.stored_file import damaged, read_text

log = logging.getLogger(__name__)
ANNOTATIONS, BOXES = "val_annotations.txt", "_boxes.txt"
"""Tiny-ImageNet's: the classes of its validation part, and where the objects of the others are."""
NO_CLASS = {"__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information"}
"""Folders that systems leave behind, beside the hidden ones."""


@dataclass(frozen=True, slots=True)
class _Listed:
    """Images of a part."""

    images: Sequence[tuple[str, str]]
    """Paths and classes, sorted by class as torchvision's `ImageFolder` is, then by name."""
    left_out: int
    """Files that are no image of a class."""
    note: str = ""


def class_folders(place: Place) -> Parts:
    """`PATH/{train,test}/CLASS/*.png`, or `PATH/CLASS/*.png` without an official division.

    Classes have the order of torchvision's `ImageFolder`, that of their names as text. Their images
    may lie in any depth, and have any ending that PIL knows. What is left out is logged, and
    counted in the parts' `origin`.

    Raises:
        DataError: there are no classes, one has no images, or `test` has one that `train` has not.
    """
    place.refuse_settings()
    roots = _roots(place.path)
    beside = _say_beside(place.path, roots)
    listed = {part: _labelled(root) for part, root in roots.items()}
    _refuse_wrapper(place.path, listed)
    images = next(iter(listed.values())).images
    channels = len(place.mean)
    if not channels:
        colour = has_colour(len(images), Files([file for file, _ in images], 0).opened)
        channels = 3 if colour else 1
    mean, std = place.normalisation(channels)
    classes = tuple(dict.fromkeys(label for _, label in images))
    source = Source(name=place.name, classes=classes, mean=mean, std=std)
    return {part: _part(source, part, found, roots[part], beside) for part, found in listed.items()}


def _roots(path: Path) -> dict[PartName, Path]:
    """The folders of the official parts, or the whole.

    A folder with the name of a part is one if it holds folders, of classes. If it holds images,
    beside other folders that do, it is a class; beside parts it has no classes, and is left out.

    Raises:
        DataError: it can be either.
    """
    folders = {name: path / name for name in _folders(path)}
    named = {name.casefold(): name for name in folders if name.casefold() in (*TRAIN, *TEST)}
    if not named:
        return {"whole": path}
    others = (name for name in folders if name.casefold() not in named)
    first = next((name for name in others if has_images(glimpse(folders[name]))), "")
    flat = {word for word, name in named.items() if _holds_images(folders[name])}
    holders = {
        word: folders[name]
        for word, name in named.items()
        if (not first or word not in flat)
        and (_folders(folders[name]) or (folders[name] / ANNOTATIONS).is_file())
    }
    chosen = chosen_parts(holders)
    if not holders and first:
        return {"whole": path}
    if first and len(chosen) == 1:
        (root,) = (holders[word] for word in chosen.values())
        raise DataError(
            f"{str(path)!r}: is {root.name!r} a part, or a class beside {first!r}? "
            f"Name {str(root)!r} for its images alone; a class needs another name"
        )
    roots = holders or {word: folders[name] for word, name in named.items()}
    return {part: roots[word] for part, word in chosen_parts(roots).items()}


def _folders(path: Path) -> list[str]:
    """Names of folders, those apart that are hidden or left behind by a system."""
    found = (entry.name for entry in entries(path) if is_folder(entry))
    return sorted(name for name in found if name[0] != "." and name not in NO_CLASS)


def _holds_images(path: Path) -> bool:
    """Does a folder hold an image itself, and not just below?"""
    return has_images([e.name for e in entries(path) if e.name[0] != "." and not is_folder(e)])


def _say_beside(path: Path, roots: dict[PartName, Path]) -> str:
    """Log folders beside those of the official parts: nothing in them is read."""
    if "whole" in roots:
        return ""
    others = sorted(set(_folders(path)) - {root.name for root in roots.values()})
    if not others:
        return ""
    what = f"{len(others)} folders beside the official parts"
    if flat := [name for name in others if name.casefold() in (*TRAIN, *TEST)]:
        bare = [name for name in flat if not _folders(path / name)]
        what += f", {len(bare)} of them a part without classes," if bare else ""
    _say_left_out(str(path), what, others[0])
    return f"{what} are left out ({others[0]!r})"


def _labelled(root: Path) -> _Listed:
    if (root / ANNOTATIONS).is_file():
        return _annotated(root)
    classes = _folders(root)
    if not classes:
        layout = f"{root.absolute().name}/CLASS/IMAGE.png"
        held = len(entries(root))
        beside = f"; it holds {held:,} files" if held else ""
        raise DataError(f"{str(root)!r} has no class folders; expected {layout}{beside}")
    names = [composed(name) for name in classes]
    if len(set(names)) < len(classes):
        raise DataError(f"{str(root)!r} has two class folders of one name, in NFC and in NFD")
    outside = [str(root / e.name) for e in entries(root) if e.name not in classes]
    images: list[tuple[str, str]] = []
    for folder, name in zip(classes, names, strict=True):
        found, others = _images_of(root / folder)
        images += [(path, name) for path in found]
        outside += others
    note = ""
    if names != sorted(names):
        note = "classes in the order of names in Unicode's form NFD, as ImageFolder has them here"
        log.warning("%s: %s", root, note)
    return _Listed(images, _say_files(root, outside), note)


def _images_of(folder: Path) -> tuple[list[str], list[str]]:
    """The images of a class, however deep, by their names, and all that is none.

    Raises:
        DataError: there is no image.
    """
    known = suffixes()
    images: list[str] = []
    others: list[str] = []
    for name in files_below(folder):
        hidden = name[0] == "." or "/." in name
        taken = not hidden and os.path.splitext(name)[1].lower() in known
        (images if taken else others).append(f"{folder}/{name}")
    if not images:
        raise DataError(f"class folder {str(folder)!r} has no images")
    # Not ImageFolder's order: ids are those of the archives, whose numbers are not padded.
    return sorted(images, key=natural), others


def _refuse_wrapper(path: Path, listed: dict[PartName, _Listed]) -> None:
    """Refuse a folder around a data set, which would be one of a single class.

    Raises:
        DataError: the folder within is named.
    """
    classes = {label for found in listed.values() for _, label in found.images}
    (name,) = classes if len(classes) == 1 else ("",)
    inner = path / name
    if "whole" in listed and name and inner.is_dir():
        within = _folders(inner)
        if len(within) > 1 and not _holds_images(inner):
            raise DataError(
                f"{str(path)!r} holds one folder of images, {name!r}, and that holds "
                f"{len(within)}: name {str(inner)!r}"
            )


def _say_files(root: Path, left_out: Sequence[str]) -> int:
    """Log files that are not read, but for those that Tiny-ImageNet is published with."""
    others = sorted(path for path in left_out if not path.endswith(BOXES))
    if others:
        _say_left_out(str(root), f"{len(others):,} files that are no image of a class", others[0])
    return len(others)


@cache
def _say_left_out(root: str, what: str, first: str) -> None:
    """Log what is left out, once, as every split lists the folder anew."""
    log.warning("%s: %s are left out, the first %r", root, what, first)


def _annotated(root: Path) -> _Listed:
    """Tiny-ImageNet's validation part: `images/*.JPEG` and a line for each."""
    text = read_text(root / ANNOTATIONS, "annotations", DataError)
    if not text:
        raise DataError(damaged("annotations", root / ANNOTATIONS, "it is empty"))
    rows = [line.split("\t") for line in text.splitlines()]
    if bad := [number for number, row in enumerate(rows, 1) if len(row) < 2]:
        raise DataError(f"{str(root / ANNOTATIONS)!r}, line {bad[0]}: expected FILE<tab>CLASS")
    rows.sort(key=lambda row: (row[1], natural(row[0])))
    listed = {row[0] for row in rows}
    images = root / "images"
    others = [f"{images}/{name}" for name in files_below(images) if name not in listed]
    return _Listed([(str(images / row[0]), row[1]) for row in rows], _say_files(root, others))


def _part(source: Source, name: PartName, found: _Listed, root: Path, beside: str) -> OfficialSplit:
    images, number = found.images, {label: i for i, label in enumerate(source.classes)}
    for path, label in images:
        if label not in number:
            raise DataError(f"{path!r}: no class {label!r} in training; {nearest(label, number)}")
    count = found.left_out
    others = f"{count:,} files that are no image of a class are left out" if count else ""
    words = [f"class folders in {str(root)!r}", others, beside, found.note]
    return OfficialSplit(
        source=source,
        name=name,
        y=torch.tensor([number[label] for _, label in images], dtype=torch.int64),
        images=Files([path for path, _ in images], len(source.mean), root=str(root)),
        origin=", ".join(filter(None, words)),
    )


CLASS_FOLDERS = DataForm(
    files="class folders of images", finds=Path.is_dir, read=class_folders, last=True
)
TINY_IMAGENET = DatasetSpec(
    folders=("tiny-imagenet-200",),
    classes=200,
    official={"train": 100_000, "test": 10_000},
    mean=(0.4802, 0.4481, 0.3975),
    std=(0.2770, 0.2691, 0.2821),
)
IMAGENET = DatasetSpec(
    classes=1000,
    official={"train": 1_281_167, "test": 50_000},
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
)
