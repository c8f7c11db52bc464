"""CIFAR's Python pickles, read without running what is pickled."""

import io
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fftune.data.data_form import DataForm, Place
from fftune.data.dataset import Source
from fftune.data.files_below import entries, left_out
from fftune.data.images import Array
from fftune.data.labels import numbering, plain_labels
from fftune.data.naming import chosen_column
from fftune.data.official_split import OfficialSplit, PartName, Parts
from fftune.errors import DataError
from fftune.stored_file import reading

FOLDERS = ("cifar-10-batches-py", "cifar-100-python")
"""Folders of the archives that the two sets are published in."""
BATCHES: Mapping[PartName, tuple[str, ...]] = {
    "train": (*(f"data_batch_{i}" for i in range(1, 6)), "train"),
    "test": ("test_batch", "test"),
}
META = ("batches.meta", "meta")
LABELS = ("labels", "fine_labels", "coarse_labels")
HARMLESS = {
    *((module, "_reconstruct") for module in ("numpy.core.multiarray", "numpy._core.multiarray")),
    *((module, "scalar") for module in ("numpy.core.multiarray", "numpy._core.multiarray")),
    *((module, "_frombuffer") for module in ("numpy.core.numeric", "numpy._core.numeric")),
    *(("numpy", name) for name in ("ndarray", "dtype")),
    ("_codecs", "encode"),
    ("collections", "OrderedDict"),
}
"""All that a pickle of arrays, lists and texts calls."""


class _Plain(pickle.Unpickler):
    """Reader of pickles that hold arrays, numbers, texts, lists and dicts alone."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in HARMLESS:
            raise DataError(f"it would run {module}.{name}, and data are no code")
        return super().find_class(module, name)


def unpickled(path: Path) -> Mapping[str, Any]:
    """The dict of a pickle of CIFAR's layout.

    Raises:
        DataError: it is damaged, holds something else, or would run code.
    """
    with reading(path, "pickle", DataError):
        found = _Plain(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        if not isinstance(found, dict):
            raise DataError(f"it holds {type(found).__name__}, no dict")
        return {str(key): value for key, value in found.items()}


def cifar_pickles(place: Place) -> Parts:
    """A folder of batches, each a dict of `data` (N, 3072) and `labels` or `fine_labels`.

    Rows are in the order of the batches. These need not be the published files; those, under the
    names `cifar10` and `cifar100`, are compared with what was published, and are in another order.

    Raises:
        DataError: a file is damaged, would run code, or has another layout.
    """
    root = _folder(place.path)
    assert root is not None
    here = {entry.name for entry in entries(root)}
    files = {part: [root / n for n in names if n in here] for part, names in BATCHES.items()}
    files = {part: paths for part, paths in files.items() if paths}
    batches = {part: [unpickled(path) for path in paths] for part, paths in files.items()}
    keys = list(next(iter(batches.values()))[0])
    able = [key for key in LABELS if key in keys]
    where = repr(str(root))
    label = chosen_column(able, LABELS, said=place.label, what="label", where=where)
    labels = {part: _labels(each, files[part], label) for part, each in batches.items()}
    known = [value for each in labels.values() for value in each]
    names = _names(root, here, label)
    order = numbering(known, where, names=names, count=place.count)
    mean, std = place.normalisation(3)
    source = Source(name=place.name, classes=order.classes, mean=mean, std=std)
    used = {path.name for paths in files.values() for path in paths} | set(META)
    out = left_out(root, [root / name for name in here - used])
    lost = _missing(here)
    words = [f"CIFAR's pickles in {where}", f"{label!r}", lost, order.said, out]
    origin = ", ".join(filter(None, words))
    return {
        part: OfficialSplit(
            source=source,
            name=part,
            y=order.y(labels[part], where),
            images=Array(source.name, _pixels(batches[part], files[part])),
            origin=origin,
        )
        for part in files
    }


def _finds(path: Path) -> bool:
    return _folder(path) is not None


def _folder(path: Path) -> Path | None:
    """The folder of the batches: the path itself, or one of `FOLDERS` in it."""
    if not path.is_dir():
        return None
    for folder in (path, *(path / name for name in FOLDERS)):
        batches = any((folder / name).is_file() for name in ("data_batch_1", "test_batch"))
        if batches or ((folder / "meta").is_file() and (folder / "test").is_file()):
            return folder
    return None


def _names(root: Path, here: set[str], label: str) -> Sequence[str]:
    """Names of the classes out of the folder's description, if there is one."""
    meta = next((name for name in META if name in here), None)
    if meta is None:
        return ()
    found = unpickled(root / meta).get(label.removesuffix("s") + "_names", ())
    return tuple(map(str, found))


def _missing(here: set[str]) -> str:
    """Words about batches of CIFAR-10 that are not there, where some are."""
    batches = BATCHES["train"][:5]
    lacks = [name for name in batches if name not in here]
    return f"{len(lacks)} of 5 batches are missing" if 0 < len(lacks) < 5 else ""


def _labels(batches: Sequence[Mapping[str, Any]], paths: Sequence[Path], label: str) -> list[Any]:
    found: list[Any] = []
    for batch, path in zip(batches, paths, strict=True):
        if label not in batch:
            raise DataError(f"pickle {str(path)!r} has no {label!r}")
        with reading(path, "pickle", DataError):
            found += plain_labels(list(batch[label]), repr(str(path)))
    return found


def _pixels(batches: Sequence[Mapping[str, Any]], paths: Sequence[Path]) -> Any:
    """(N, 32, 32, 3) uint8."""
    found = []
    for batch, path in zip(batches, paths, strict=True):
        with reading(path, "pickle", DataError):
            pixels = np.asarray(batch["data"])
            if pixels.dtype != np.uint8 or pixels.size != len(pixels) * 3072:
                shape = f"{pixels.dtype} of shape {pixels.shape}"
                raise DataError(f"its data are {shape}, not uint8 of (N, 3072)")
            found.append(pixels.reshape(-1, 3, 32, 32))
    return np.ascontiguousarray(np.concatenate(found).transpose(0, 2, 3, 1))


CIFAR_PICKLES = DataForm(files="CIFAR's Python pickles", finds=_finds, read=cifar_pickles)
