"""Arrays of images and labels in NumPy's files: `.npz`, and pairs of `.npy`."""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fftune.data.data_form import DataForm, Place
from fftune.data.dataset import Source
from fftune.data.files_below import expanded, glimpse, has_images, left_out
from fftune.data.images import Array
from fftune.data.labels import numbering, plain_labels
from fftune.data.memory_check import check_fits
from fftune.data.naming import IMAGE, LABEL, chosen_parts, natural, word_of_part
from fftune.data.official_split import OfficialSplit, PartName, Parts
from fftune.data.sources.arrays import pixels_of
from fftune.errors import DataError
from fftune.stored_file import reading

NPZ, NPY = ".npz", ".npy"
NAMES = ("classes", "class_names", "label_names", "names")
"""Names of an array of class names."""
Arrays = Mapping[str, Any]
"""Arrays by name, as stored, and not read before they are asked for."""


def numpy_files(place: Place) -> Parts:
    """Images and labels of a `.npz`, or of a folder of `.npy`.

    Arrays are told by words in their names, as in `x_train`, `test_labels`, `images`; two arrays
    without such names, as `np.savez(file, images, labels)` writes, are told by their shapes. Of one
    `.npy` the labels are beside it. Images are those of `arrays.parts_from`; labels are numbered as
    `labels.numbering` says, and may be (N, 1) or one-hot. Nothing that would run code is read.

    Raises:
        DataError: arrays are missing, differ in length or have another form; a file is damaged.
    """
    files, arrays = _arrays(place.path)
    pairs = _pairs(arrays, place)
    found = {part: (arrays[x], arrays[y]) for part, (x, y) in pairs.items()}
    where = {part: f"{str(place.path)!r}, {x} and {y}" for part, (x, y) in pairs.items()}
    pixels = {part: pixels_of(x, where[part]) for part, (x, _) in found.items()}
    labels = {part: _labels(y, where[part]) for part, (_, y) in found.items()}
    for part in found:
        if len(pixels[part]) != len(labels[part]):
            lengths = f"{len(pixels[part]):,} images and {len(labels[part]):,} labels"
            raise DataError(f"{where[part]}: {lengths}")
    channels = {each.shape[3] for each in pixels.values()}
    if len(channels) > 1:
        raise DataError(f"{str(place.path)!r}: parts have {sorted(channels)} channels")
    first = labels.get("train", next(iter(labels.values())))
    every = [value for each in labels.values() for value in each]
    known = every if first and isinstance(first[0], int) else first
    names = next((arrays[name] for name in NAMES if name in arrays), ())
    order = numbering(known, str(place.path), names=[str(n) for n in names], count=place.count)
    mean, std = place.normalisation(channels.pop())
    source = Source(name=place.name, classes=order.classes, mean=mean, std=std)
    used = {name for pair in pairs.values() for name in pair} | set(NAMES)
    others = sorted(set(arrays) - used)
    kept = f"{len(others):,} other arrays are left out ({others[0]!r})" if others else ""
    out = left_out(place.path, [f for f in expanded(place.path) if f not in files])
    return {
        part: OfficialSplit(
            source=source,
            name=part,
            y=order.y(labels[part], where[part]),
            images=Array(source.name, pixels[part]),
            origin=", ".join(filter(None, [f"arrays of {where[part]}", kept, order.said, out])),
        )
        for part in found
    }


def _finds(path: Path) -> bool:
    if path.is_dir():
        names = glimpse(path)
        here = any(name.lower().endswith((NPZ, NPY)) for name in names)
        return here and not has_images(names)
    return path.suffix.lower() in (NPZ, NPY)


def _arrays(path: Path) -> tuple[list[Path], Arrays]:
    """Files, and their arrays by name.

    Raises:
        DataError: there is no such file, several `.npz`, or labels beside a `.npy`.
    """
    files = sorted(
        (file for file in expanded(path) if file.suffix.lower() in (NPZ, NPY)),
        key=lambda file: natural(str(file)),
    )
    packed = [file for file in files if file.suffix.lower() == NPZ]
    if len(packed) > 1 or (packed and len(files) > 1):
        shown = " or ".join(repr(str(file)) for file in files[:4])
        raise DataError(f"{str(path)!r} holds several data sets: name one of {shown}")
    if packed:
        return files, _unpacked(packed[0])
    if path.is_dir():
        return files, {file.stem: _read(file) for file in files}
    if not files:
        raise DataError(f"data.name: there is no file {str(path)!r}")
    beside = _beside(path)
    return [path, beside], {"images": _read(path), "labels": _read(beside)}


def _beside(path: Path) -> Path:
    """The labels of a `.npy` of images: `x.npy` and `y.npy`, `v6_data.npy` and `v6_labels.npy`.

    Raises:
        DataError: there is no such file.
    """
    words = re.split(r"([A-Za-z]+)", path.stem)
    places = [at for at, word in enumerate(words) if word.casefold() in IMAGE]
    names = []
    for at in places:
        names += ["".join([*words[:at], label, *words[at + 1 :]]) for label in LABEL]
    for name in (*names, *LABEL):
        if (found := path.with_name(name + NPY)).is_file() and found != path:
            return found
    raise DataError(f"data.name: {str(path)!r} has no labels beside it, as 'labels.npy' or 'y.npy'")


def _read(path: Path) -> NDArray[Any]:
    """An array, mapped into memory."""
    with reading(path, "NumPy file", DataError):
        found: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return found


def _unpacked(path: Path) -> Arrays:
    """All arrays of a `.npz` that hold no Python objects."""
    with reading(path, "NumPy file", DataError):
        with zipfile.ZipFile(path) as packed:
            sizes = [member.file_size for member in packed.infolist()]
        check_fits(path.name, len(sizes), sum(sizes))
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}


def _pairs(arrays: Arrays, place: Place) -> dict[PartName, tuple[str, str]]:
    """The names of images and of labels, by part.

    Raises:
        DataError: there is no such pair.
    """
    for name in (place.image, place.label):
        if name and name not in arrays:
            raise DataError(f"{str(place.path)!r} has no array {name!r}; {_listed(arrays)}")
    if place.image and place.label:
        return {"whole": (place.image, place.label)}
    found: dict[str, dict[str, str]] = {}
    for name in sorted(arrays, key=natural):
        role = _role(name)
        if role and name not in NAMES:
            found.setdefault(word_of_part(name), {}).setdefault(role, name)
    pairs = {word: (each["x"], each["y"]) for word, each in found.items() if len(each) == 2}
    chosen = chosen_parts(pairs)
    if chosen:
        return {part: pairs[word] for part, word in chosen.items()}
    if "" in pairs:
        return {"whole": pairs[""]}
    if len(arrays) == 2:
        x, y = sorted(arrays, key=lambda name: -np.ndim(arrays[name]))
        if np.ndim(arrays[x]) in (3, 4) and np.ndim(arrays[y]) in (1, 2):
            return {"whole": (x, y)}
    rule = "as x and y, images and labels, or x_train, y_train, x_test and y_test"
    raise DataError(f"{str(place.path)!r} has no arrays {rule}; {_listed(arrays)}")


def _role(name: str) -> str:
    """`x` for images, `y` for labels, by a word of the name."""
    words = re.split(r"[^a-z]+", name.casefold())
    if set(words) & set(LABEL):
        return "y"
    return "x" if set(words) & set(IMAGE) else ""


def _listed(arrays: Arrays) -> str:
    shapes = (f"{name} {np.shape(arrays[name])}" for name in sorted(arrays)[:8])
    return f"it holds {', '.join(shapes) or 'none'}"


def _labels(y: NDArray[Any], where: str) -> list[Any]:
    """Labels (N,) of an array (N,), (N, 1) or one-hot (N, K).

    Raises:
        DataError: it is none of these.
    """
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 2 and ((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all():
        y = y.argmax(1)
    if y.ndim != 1:
        raise DataError(f"{where}: labels have shape {y.shape}, not (N,) or one-hot")
    return plain_labels(y.tolist(), where)


NUMPY_FILES = DataForm(files="NumPy's files (.npz, .npy)", finds=_finds, read=numpy_files)
