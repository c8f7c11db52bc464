"""Image folders, the layout of Tiny-ImageNet, and Parquet files of encoded images."""

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from fftune.config import nearest
from fftune.data.dataset import Source
from fftune.data.dataset_spec import DatasetSpec, Floats
from fftune.data.images import Encoded, Files, has_colour, suffixes
from fftune.data.official_split import OfficialSplit, PartName, Parts
from fftune.errors import DataError
from fftune.names import composed
from fftune.stored_file import read_text, reading

log = logging.getLogger(__name__)
PART_FOLDERS: Mapping[PartName, tuple[str, ...]] = {
    "train": ("train", "training"),
    "test": ("test", "testing", "val", "valid", "validation"),
}
MOST_CLASSES = 1_000_000
"""Labels from here on are ids of something, not numbers of classes."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
ANNOTATIONS, BOXES = "val_annotations.txt", "_boxes.txt"
"""Tiny-ImageNet's: the classes of its validation part, and where the objects of the others are."""


def folder(path: Path, *, name: str = "", mean: Floats = (), std: Floats = ()) -> Parts:
    """`PATH/{train,test}/CLASS/*.png`, or `PATH/CLASS/*.png` without an official division.

    Classes have the order of torchvision's `ImageFolder`, that of their names as text. What is
    left out is logged.

    Args:
        name: what the set is called; the folder's name where it is empty.
        mean, std: of a set that is known, a value a channel; otherwise the channels are found by
            looking, and colour images are normalised as ImageNet's are.

    Raises:
        DataError: there are no classes, one has no images, or `test` has one that `train` has not.
    """
    found = {part: _part_folder(path, names) for part, names in PART_FOLDERS.items()}
    roots: dict[PartName, Path] = {part: root for part, root in found.items() if root}
    if roots:
        _say_beside(path, roots.values())
    listed = {part: _labelled(root) for part, root in (roots or {"whole": path}).items()}
    images = next(iter(listed.values()))
    if not mean:
        colour = has_colour([file for file, _ in images])
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if colour else ((0.5,), (0.5,))
    classes = tuple(dict.fromkeys(label for _, label in images))
    source = Source(name=name or path.name, classes=classes, mean=mean, std=std)
    return {part: _part(source, part, images) for part, images in listed.items()}


def parquet(path: Path) -> Parts:
    """A file with a column `label` and a column `image` of encoded bytes.

    `image` may also be the struct of `bytes` and `path` in which image sets are commonly
    published; labels are class names, numbered in the order of text, or numbers from 0.

    Raises:
        DataError: it is no such file.
    """
    import pyarrow.parquet as pq

    with reading(path, "Parquet file", DataError):
        table = pq.read_table(path)
    if missing := {"image", "label"} - set(table.column_names):
        raise DataError(f"{str(path)!r} has no column {' and no column '.join(sorted(missing))}")
    contents = [_bytes_of(value, str(path)) for value in table["image"].to_pylist()]
    if not contents:
        raise DataError(f"{str(path)!r} has no rows")
    classes, y = _numbered(table["label"].to_pylist(), str(path))
    images = Encoded(str(path), contents, channels=3)
    source = Source(name=path.stem, classes=classes, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    return {"whole": OfficialSplit(source=source, name="whole", y=y, images=images)}


def natural(name: str) -> tuple[list[str | int], str]:
    """A key that sorts `2.png` before `10.png`, as padded and unpadded numbers should."""
    pieces: list[str | int] = list(re.split("([0-9]+)", name))
    pieces[1::2] = map(int, pieces[1::2])
    return pieces, name


Labelled = Sequence[tuple[str, str]]
"""Paths and their classes, sorted by class as torchvision's `ImageFolder` is, then by name."""


def _part_folder(path: Path, names: Sequence[str]) -> Path | None:
    return next((path / name for name in names if (path / name).is_dir()), None)


def _say_beside(path: Path, roots: Iterable[Path]) -> None:
    """Log folders beside those of the official parts: nothing in them is read."""
    folders = {e.name for e in _entries(path) if e.is_dir() and e.name[0] != "."}
    others = sorted(folders - {root.name for root in roots})
    if others:
        _say_left_out(str(path), f"{len(others)} folders beside the official parts", others[0])


def _labelled(root: Path) -> Labelled:
    if (root / ANNOTATIONS).is_file():
        return _annotated(root)
    entries = _entries(root)
    classes = sorted(e.name for e in entries if e.is_dir() and e.name[0] != ".")
    if not classes:
        raise DataError(f"{str(root)!r} has no class folders; expected {root.name}/CLASS/IMAGE.png")
    if len({composed(name) for name in classes}) < len(classes):
        raise DataError(f"{str(root)!r} has two class folders of one name, in NFC and in NFD")
    outside = [str(root / e.name) for e in entries if e.name not in classes]
    images: list[tuple[str, str]] = []
    for name in classes:
        found, others = _images_of(root / name)
        images += [(path, composed(name)) for path in found]
        outside += others
    _say_files(root, outside)
    return images


def _images_of(folder: Path) -> tuple[list[str], list[str]]:
    """The images of a class, however deep, by their names, and all that is none.

    Raises:
        DataError: there is no image.
    """
    known = suffixes()
    images: list[str] = []
    others: list[str] = []
    for name in _files(folder, (os.path.realpath(folder),)):
        hidden = name[0] == "." or "/." in name
        taken = not hidden and os.path.splitext(name)[1].lower() in known
        (images if taken else others).append(f"{folder}/{name}")
    if not images:
        raise DataError(f"class folder {str(folder)!r} has no images")
    # Not ImageFolder's order: ids are those of the archives, whose numbers are not padded.
    return sorted(images, key=natural), others


def _files(folder: Path, above: tuple[str, ...]) -> Iterator[str]:
    """The names of all files below a folder; links are followed, but never in a circle."""
    for entry in _entries(folder):
        if not entry.is_dir():
            if entry.is_symlink() or entry.is_file():  # whoever opens a pipe waits for ever
                yield entry.name
        elif (real := os.path.realpath(entry.path)) not in above:
            for name in _files(folder / entry.name, (*above, real)):
                yield f"{entry.name}/{name}"


def _entries(path: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be listed: {error.strerror}") from None


def _say_files(root: Path, left_out: Sequence[str]) -> None:
    """Log files that are not read, but for those that Tiny-ImageNet is published with."""
    others = sorted(path for path in left_out if not path.endswith(BOXES))
    if others:
        _say_left_out(str(root), f"{len(others):,} files that are no image of a class", others[0])


@cache
def _say_left_out(root: str, what: str, first: str) -> None:
    """Log what is left out, once, as every split lists the folder anew."""
    log.warning("%s: %s are left out, the first %r", root, what, first)


def _annotated(root: Path) -> Labelled:
    """Tiny-ImageNet's validation part: `images/*.JPEG` and a line for each."""
    text = read_text(root / ANNOTATIONS, "annotations", DataError)
    rows = [line.split("\t") for line in text.splitlines()]
    if bad := [number for number, row in enumerate(rows, 1) if len(row) < 2]:
        raise DataError(f"{str(root / ANNOTATIONS)!r}, line {bad[0]}: expected FILE<tab>CLASS")
    rows.sort(key=lambda row: (row[1], natural(row[0])))
    listed = {row[0] for row in rows}
    images = root / "images"
    _say_files(root, [f"{images}/{name}" for name in _files(images, ()) if name not in listed])
    return [(str(root / "images" / row[0]), row[1]) for row in rows]


def _part(source: Source, name: PartName, images: Labelled) -> OfficialSplit:
    number = {label: i for i, label in enumerate(source.classes)}
    for path, label in images:
        if label not in number:
            raise DataError(f"{path!r}: no class {label!r} in training; {nearest(label, number)}")
    return OfficialSplit(
        source=source,
        name=name,
        y=torch.tensor([number[label] for _, label in images], dtype=torch.int64),
        images=Files([path for path, _ in images], len(source.mean)),
    )


def _numbered(labels: Sequence[Any], path: str) -> tuple[tuple[str, ...], torch.Tensor]:
    if all(isinstance(label, int) and label >= 0 for label in labels):
        if max(labels) >= MOST_CLASSES:
            rule = f"numbers of classes, below {MOST_CLASSES:,}"
            raise DataError(f"{path!r}: column 'label' must hold {rule}, got {max(labels):,}")
        return tuple(map(str, range(max(labels) + 1))), torch.tensor(labels, dtype=torch.int64)
    if not all(isinstance(label, str) for label in labels):
        raise DataError(f"{path!r}: column 'label' must hold class names, or numbers from 0")
    classes = sorted(set(labels))
    number = {label: i for i, label in enumerate(classes)}
    return tuple(classes), torch.tensor([number[label] for label in labels], dtype=torch.int64)


def _bytes_of(value: Any, path: str) -> bytes:
    found = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(found, bytes):
        raise DataError(f"{path!r}: column 'image' must hold encoded images in every row")
    return found


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
