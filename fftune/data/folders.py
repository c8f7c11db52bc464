"""Image folders, the layout of Tiny-ImageNet, and Parquet files of encoded images."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from fftune.config import nearest
from fftune.data.dataset import Source
from fftune.data.images import Encoded, Files, has_colour
from fftune.data.parts import Part, PartName, Parts
from fftune.errors import DataError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})
PART_FOLDERS: Mapping[PartName, tuple[str, ...]] = {
    "train": ("train", "training"),
    "test": ("test", "testing", "val", "valid", "validation"),
}
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
Floats = tuple[float, ...]
ANNOTATIONS = "val_annotations.txt"


def folder(path: Path, *, name: str = "", mean: Floats = (), std: Floats = ()) -> Parts:
    """`PATH/{train,test}/CLASS/*.png`, or `PATH/CLASS/*.png` without an official division.

    Args:
        name: what the set is called; the folder's name where it is empty.
        mean, std: of a set that is known, a value a channel; otherwise the channels are found by
            looking, and colour images are normalised as ImageNet's are.

    Raises:
        DataError: there are no classes, one has no images, or `test` has one that `train` has not.
    """
    found = {part: _part_folder(path, names) for part, names in PART_FOLDERS.items()}
    roots: dict[PartName, Path] = {part: root for part, root in found.items() if root}
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
    published; labels are class names, or numbers from 0.

    Raises:
        DataError: it is no such file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{str(path)!r} is not a Parquet file: {_line(error)}") from None
    if missing := {"image", "label"} - set(table.column_names):
        raise DataError(f"{str(path)!r} has no column {' and no column '.join(sorted(missing))}")
    contents = [_bytes_of(value, str(path)) for value in table["image"].to_pylist()]
    if not contents:
        raise DataError(f"{str(path)!r} has no rows")
    classes, y = _numbered(table["label"].to_pylist(), str(path))
    images = Encoded(str(path), contents, channels=3)
    source = Source(name=path.stem, classes=classes, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    return {"whole": Part(source=source, name="whole", y=y, images=images)}


def natural(name: str) -> tuple[list[str | int], str]:
    """A key that sorts `2.png` before `10.png`, as padded and unpadded numbers should."""
    pieces: list[str | int] = list(re.split("([0-9]+)", name))
    pieces[1::2] = map(int, pieces[1::2])
    return pieces, name


Labelled = Sequence[tuple[str, str]]
"""Paths and their classes, sorted by class, then by name."""


def _part_folder(path: Path, names: Sequence[str]) -> Path | None:
    return next((path / name for name in names if (path / name).is_dir()), None)


def _labelled(root: Path) -> Labelled:
    if (root / ANNOTATIONS).is_file():
        return _annotated(root)
    classes = _entries(root, folders=True)
    if not classes:
        raise DataError(f"{str(root)!r} has no class folders; expected {root.name}/CLASS/IMAGE.png")
    return [(path, name) for name in classes for path in _images_of(root / name)]


def _images_of(folder: Path) -> list[str]:
    """The images of a class, in Tiny-ImageNet one folder further down."""
    inner = folder / "images"
    folder = inner if inner.is_dir() else folder
    names = _entries(folder, folders=False)
    images = [str(folder / name) for name in names if Path(name).suffix.lower() in SUFFIXES]
    if not images:
        raise DataError(f"class folder {str(folder)!r} has no images")
    return images


def _entries(path: Path, *, folders: bool) -> list[str]:
    try:
        with os.scandir(path) as entries:
            names = [e.name for e in entries if e.is_dir() == folders and e.name[0] != "."]
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be listed: {error.strerror}") from None
    return sorted(names, key=natural)


def _annotated(root: Path) -> Labelled:
    """Tiny-ImageNet's validation part: `images/*.JPEG` and a line for each."""
    rows = [line.split("\t") for line in (root / ANNOTATIONS).read_text("utf-8").splitlines()]
    if bad := [number for number, row in enumerate(rows, 1) if len(row) < 2]:
        raise DataError(f"{str(root / ANNOTATIONS)!r}, line {bad[0]}: expected FILE<tab>CLASS")
    rows.sort(key=lambda row: (natural(row[1]), natural(row[0])))
    return [(str(root / "images" / row[0]), row[1]) for row in rows]


def _part(source: Source, name: PartName, images: Labelled) -> Part:
    number = {label: i for i, label in enumerate(source.classes)}
    for path, label in images:
        if label not in number:
            raise DataError(f"{path!r}: no class {label!r} in training; {nearest(label, number)}")
    return Part(
        source=source,
        name=name,
        y=torch.tensor([number[label] for _, label in images], dtype=torch.int64),
        images=Files([path for path, _ in images], len(source.mean)),
    )


def _numbered(labels: Sequence[Any], path: str) -> tuple[tuple[str, ...], torch.Tensor]:
    if all(isinstance(label, int) and label >= 0 for label in labels):
        return tuple(map(str, range(max(labels) + 1))), torch.tensor(labels, dtype=torch.int64)
    if not all(isinstance(label, str) for label in labels):
        raise DataError(f"{path!r}: column 'label' must hold class names, or numbers from 0")
    classes = sorted(set(labels), key=natural)
    number = {label: i for i, label in enumerate(classes)}
    return tuple(classes), torch.tensor([number[label] for label in labels], dtype=torch.int64)


def _bytes_of(value: Any, path: str) -> bytes:
    found = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(found, bytes):
        raise DataError(f"{path!r}: column 'image' must hold encoded images in every row")
    return found


def _line(error: Exception) -> str:
    return str(error).splitlines()[0]
