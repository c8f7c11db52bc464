"""The data sets of both papers: what they hold, how they are normalised, where they are found."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from fftune.config import DataSpec, Split, is_plain, nearest
from fftune.data.beton.reader import stored_parts
from fftune.data.dataset import Dataset
from fftune.data.images import Array, Central
from fftune.data.official_split import OfficialSplit, Parts, place
from fftune.data.sources import archives
from fftune.data.sources.digits import digits
from fftune.data.sources.folders import IMAGENET_MEAN, IMAGENET_STD, Floats, folder, parquet
from fftune.data.sources.synthetic import synthetic
from fftune.errors import DataError

DEFAULT_ROOT = "~/.cache/fftune/datasets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a named data set before its files are seen."""

    classes: int
    train: int
    test: int
    """Official counts. A subset is usable; `data list` says that it is one."""
    mean: Floats
    std: Floats
    folders: tuple[str, ...] = ()
    """Its names under the root, beside its own."""
    archive: archives.Archive | None = None
    """Finds the files of torchvision."""


KNOWN: Mapping[str, Known] = {
    "mnist": Known(
        classes=10,
        train=60_000,
        test=10_000,
        mean=(0.1307,),
        std=(0.3081,),
        archive=archives.mnist,
    ),
    "cifar10": Known(
        classes=10,
        train=50_000,
        test=10_000,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2471, 0.2435, 0.2616),
        archive=archives.cifar10,
    ),
    "cifar100": Known(
        classes=100,
        train=50_000,
        test=10_000,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        archive=archives.cifar100,
    ),
    "svhn": Known(
        classes=10,
        train=73_257,
        test=26_032,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        archive=archives.svhn,
    ),
    "tiny-imagenet": Known(
        classes=200,
        train=100_000,
        test=10_000,
        mean=(0.4802, 0.4481, 0.3975),
        std=(0.2770, 0.2691, 0.2821),
        folders=("tiny-imagenet-200",),
    ),
    "imagenet": Known(
        classes=1000,
        train=1_281_167,
        test=50_000,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    ),
}


def load(spec: DataSpec, split: Split) -> Dataset:
    """One part of a data set, in memory.

    Raises:
        DataError: there is no such data set, or it is too small for the parts asked for.
    """
    part, rows = place_framed(spec, split)
    return part.read(rows, split)


def place_framed(spec: DataSpec, split: Split) -> tuple[OfficialSplit, Tensor]:
    """The official part that a split comes from, its images cut to `spec.image_size`, and the
    (N,) int64 positions of the split there, ascending.

    Raises:
        DataError: as `load` does.
    """
    part, rows = place(_opened(spec.name), spec, split)
    frame = Central(spec.image_size, spec.image_resize) if spec.image_size else None
    return part.framed(frame), rows.sort().values


@contextmanager
def opened_once() -> Iterator[None]:
    """Open each data set at most once while the block runs, whoever asks for its splits.

    For a command that checks, trains and evaluates: a folder is listed once, not once a step.
    Files must not change meanwhile. Blocks may be nested; the outermost keeps what is open.
    """
    if _OPEN.get() is not None:
        yield
        return
    token = _OPEN.set({})
    try:
        yield
    finally:
        _OPEN.reset(token)


_OPEN: ContextVar[dict[tuple[str, Path], Parts] | None] = ContextVar("open data sets", default=None)


def _opened(name: str) -> Parts:
    """Official parts of a data set, kept from an earlier call in a block of `opened_once`."""
    known = _OPEN.get()
    if known is None:
        return open_parts(name)
    key = name, data_root()
    if key not in known:
        known[key] = open_parts(name)
    return known[key]


def data_root() -> Path:
    """Where data sets are found: `FFTUNE_DATA`, or a folder in the user's cache."""
    return Path(os.environ.get("FFTUNE_DATA") or DEFAULT_ROOT).expanduser().absolute()


def open_parts(name: str, source: Path | None = None, *, betons: bool = True) -> Parts:
    """The official parts of a data set, listed but not decoded.

    Args:
        name: a known set, `digits`, `synthetic:...`, `folder:PATH`, or any name under which
            betons were written.
        source: the folder of a known set; by default it is looked for under `data_root()`.
        betons: take betons, where they are, rather than what they were made of.

    Raises:
        DataError: there is no such set, or its files are missing or not what they should be.
    """
    kind, _, rest = name.partition(":")
    if kind == "synthetic":
        return synthetic(rest)
    if kind == "folder":
        return _user_folder(Path(rest).expanduser(), betons=betons)
    if name == "digits":
        return {"whole": _embedded()}
    stored = stored_parts(data_root() / name) if betons and not source and is_plain(name) else None
    if stored:
        return stored
    if name in KNOWN:
        return _known(name, KNOWN[name], [source] if source else _places(name))
    raise DataError(f"data.name: no data set {name!r}; {nearest(name, SPELLINGS)}")


SPELLINGS = ("digits", *KNOWN, "folder:PATH", "synthetic")


def _known(name: str, known: Known, places: list[Path]) -> Parts:
    for path in places:
        read = known.archive(path) if known.archive else None
        if read:
            return archives.opened(read, name=name, mean=known.mean, std=known.std)
    found = next((path for path in places if _has_parts(path)), None)
    if found is None:
        tried = " or ".join(repr(str(path)) for path in places)
        raise DataError(f"data set {name!r} is not in {tried}; FFTUNE_DATA names another folder")
    parts = folder(found, name=name, mean=known.mean, std=known.std)
    classes = len(next(iter(parts.values())).source.classes)
    if classes > known.classes:
        raise DataError(f"{str(found)!r} has {classes} classes, {name!r} has {known.classes}")
    return parts


def _places(name: str) -> list[Path]:
    root = data_root()
    return [root / folder for folder in (name, *KNOWN[name].folders)]


def _has_parts(path: Path) -> bool:
    return any((path / part).is_dir() for part in ("train", "test", "val"))


def _user_folder(path: Path, *, betons: bool) -> Parts:
    if path.is_file():
        return parquet(path)
    if not path.is_dir():
        raise DataError(f"data.name: there is no folder or file {str(path)!r}")
    return (stored_parts(path) if betons else None) or folder(path)


def _embedded() -> OfficialSplit:
    whole = digits()
    pixels = whole.pixels.permute(0, 2, 3, 1).contiguous().numpy()
    return OfficialSplit(
        source=whole.source, name="whole", y=whole.y, images=Array("digits", pixels)
    )
