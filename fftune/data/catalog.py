"""Data sets by name: a table's, `folder:PATH`, `hf:OWNER/NAME`, `synthetic:...`, `FILE.py:NAME`."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from shlex import quote

from fftune.config import DataSpec, Split, nearest
from fftune.config.data import written_by
from fftune.data.beton.reader import stored_parts
from fftune.data.data_form import DataForm, Place
from fftune.data.dataset import Dataset
from fftune.data.dataset_spec import DatasetSpec
from fftune.data.files_below import entries, glimpse, has_images
from fftune.data.held import held
from fftune.data.images import Central
from fftune.data.official_split import ListedSplit, Parts, place
from fftune.data.origin import tell, told
from fftune.data.sources import archives
from fftune.data.sources.arrays import parts_from
from fftune.data.sources.hub import hub_place
from fftune.data.sources.synthetic import synthetic
from fftune.errors import DataError, StorageError, UserCodeError
from fftune.names import is_plain
from fftune.registry import DATA_FORMS, DATASETS, is_of_file
from fftune.storage import in_home
from fftune.user_code import called

DEFAULT_ROOT = "~/.cache/fftune/datasets"


def load(spec: DataSpec, split: Split) -> Dataset:
    """One split of a data set, in memory.

    Raises:
        DataError: there is no such data set, or it is too small for the splits asked for.
    """
    part, rows = place_framed(spec, split)
    return part.read(rows, split)


def place_framed(spec: DataSpec, split: Split) -> ListedSplit:
    """A split of a data set, its images cut to `spec.image_size`; none is decoded.

    Raises:
        DataError: there is no such data set, or it is too small for the splits asked for.
    """
    part, rows = place(_opened(spec.name), spec, split)
    frame = Central(spec.image_size, spec.image_resize) if spec.image_size else None
    official = _official(spec.name)
    origin = told(part, spec, split, len(rows), official.get(part.name, 0))
    size = f" --image-size {spec.image_size}" if spec.image_size else ""
    part = replace(part, origin=origin, asked=f"{quote(spec.name)}{size}")
    tell(part.origin)
    return ListedSplit(part.framed(frame), rows.sort().values)


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
    """The folder of data sets: `FFTUNE_DATA`, or a folder in the user's cache.

    A user without a home folder has none: nothing is there, and nothing can be written.
    """
    try:
        return in_home(os.environ.get("FFTUNE_DATA") or DEFAULT_ROOT).absolute()
    except StorageError:
        return Path("/nonexistent/fftune/datasets")


def open_parts(name: str, source: Path | None = None, *, betons: bool = True) -> Parts:
    """The official parts of a data set, listed but not decoded.

    Args:
        name: a name of the table DATASETS, `synthetic:...`, `folder:PATH` (`Place.of`; any form of
            the table DATA_FORMS), `hf:OWNER/NAME` (`hub_place`), `FILE.py:NAME`, or the name of
            what lies under `data_root()`.
        source: the folder of a data set of the table; by default it is looked for under
            `data_root()`.
        betons: take FFCV files ("betons"), if there are any, rather than what they were made of.

    Raises:
        DataError: there is no such set, or its files are missing or not what they should be.
    """
    kind, _, rest = name.partition(":")
    if kind == "synthetic":
        return synthetic(rest)
    if kind == "memory":
        return held(name)
    if kind == "folder":
        return _at(Place.of(rest), betons=betons)
    if kind == "hf":
        return _at(hub_place(rest), betons=False)
    spec = _spec_of(name)
    if spec and spec.load:
        return _loaded(name, spec)
    own = data_root() / name if is_plain(name) else None
    stored = stored_parts(own) if own and betons and not source else None
    if stored:
        return stored
    if spec:
        return _from_files(name, spec, [source] if source else _places(name, spec))
    if own and (source or own.exists()):
        return _at(Place(path=source or own), betons=False)
    raise DataError(f"data.name: no data set {name!r}; {_why(name)}")


def spellings() -> tuple[str, ...]:
    """The names and forms of names that data sets have."""
    return (*DATASETS, "folder:PATH", "hf:OWNER/NAME", "synthetic", "FILE.py:NAME")


def _why(name: str) -> str:
    """The end of an error about a name that is none: what would make it, or what is near."""
    parent = next((p for p in DATASETS if name.startswith(f"{p}-")), "")
    kind = name.removeprefix(f"{parent}-").removesuffix("-l2")
    norm = " --threat.norm l2" if name.endswith("-l2") else ""
    if parent and (made := written_by(kind)):
        return f"`fftune data write {parent} {made}{norm}` makes it"
    if Path(name).exists():
        return f"the {'folder' if Path(name).is_dir() else 'file'} here is folder:{name}"
    return nearest(name, spellings())


def _official(name: str) -> Mapping[str, int]:
    """Published number of examples of each part; empty for other sets."""
    if name not in DATASETS or not isinstance(spec := DATASETS[name], DatasetSpec):
        return {}
    return spec.official


def _spec_of(name: str) -> DatasetSpec | None:
    """The record of a data set of the table, of an installed package, or of a user's file."""
    if name not in DATASETS and not is_of_file(name):
        return None
    entry = DATASETS[name]
    if isinstance(entry, DatasetSpec):
        return entry
    if not callable(entry):
        kind = type(entry).__name__
        raise DataError(f"data set {name!r} must be a DatasetSpec or a function, got {kind}")
    return DatasetSpec(load=entry)


def _loaded(name: str, spec: DatasetSpec) -> Parts:
    assert spec.load is not None
    file, _, short = name.rpartition(":")
    try:
        loaded = called(Path(file), spec.load) if is_of_file(name) else spec.load()
    except UserCodeError as error:
        raise DataError(f"data set {name!r}: {error}") from error
    return parts_from(loaded, name=short, spec=spec)


def _from_files(name: str, spec: DatasetSpec, places: list[Path]) -> Parts:
    for path in [*places, *(folder.parent for folder in places[:1])]:
        read = spec.archive(path) if spec.archive else None
        if read:
            return archives.opened(read, path, name=name, mean=spec.mean, std=spec.std)
    found = next((path for path in places if _is_there(path)), None)
    if found is None:
        raise DataError(_missing(name, spec, places))
    parts = _at(Place(path=found, title=name, mean=spec.mean, std=spec.std), betons=False)
    classes = len(next(iter(parts.values())).source.classes)
    if spec.classes and classes > spec.classes:
        raise DataError(f"{str(found)!r} has {classes} classes, {name!r} has {spec.classes}")
    return parts


def _missing(name: str, spec: DatasetSpec, places: list[Path]) -> str:
    """One line on files that are not there: where they are looked for, and how they lie there."""
    tried = " or ".join(repr(str(path)) for path in places)
    layout = f"{spec.layout}, or " if spec.layout else ""
    return (
        f"data set {name!r} is not in {tried}: nothing is downloaded; put there "
        f"{layout}train/CLASS/IMAGE and test/CLASS/IMAGE, or its Parquet files; FFTUNE_DATA names "
        "another folder"
    )


def _places(name: str, spec: DatasetSpec) -> list[Path]:
    root = data_root()
    return [root / folder for folder in (name.rpartition(":")[2], *spec.folders)]


def found_beside() -> list[str]:
    """Names of data sets under `data_root()` that are in no table, whatever their form."""
    specs = (_spec_of(name) or DatasetSpec() for name in DATASETS)
    known = {*DATASETS, *(folder for spec in specs for folder in spec.folders)}
    root = data_root()
    names = sorted(entry.name for entry in entries(root)) if root.is_dir() else []
    return [
        name
        for name in names
        if is_plain(name)
        and name not in known
        and (_is_stored(root / name) or _is_set(root / name))
    ]


def _is_stored(path: Path) -> bool:
    return path.is_dir() and any(path.glob("*.beton"))


def _is_set(path: Path) -> bool:
    form = _form(path)
    return form is not None and (not form.last or has_images(glimpse(path)))


def _at(place: Place, *, betons: bool) -> Parts:
    """Data set at a place, whatever its form.

    Raises:
        DataError: nothing, or no form that is known.
    """
    path = place.path
    stored = stored_parts(path) if betons and path.is_dir() else None
    if stored:
        return stored
    if found := _form(path):
        return found.read(place)
    if not path.exists():
        raise DataError(f"data.name: there is no folder or file {str(path)!r}{_hub(path)}")
    known = ", ".join(DATA_FORMS[name].files for name in DATA_FORMS)
    raise DataError(f"data.name: {str(path)!r} is none of: {known}{_advice(path)}")


def _hub(path: Path) -> str:
    """The end of an error about a path that could be the name of a set of the Hugging Face hub."""
    if path.is_absolute() or len(path.parts) != 2 or "." in path.parts[0]:
        return ""
    fetch = f"hf download --repo-type dataset {path}"
    return f"; nothing is downloaded: of the hub it is hf:{path}, which `{fetch}` fetches"


def _advice(path: Path) -> str:
    """The end of an error about a file of no form, which says what to name instead."""
    if path.suffix.lower() in (".zip", ".7z", ".rar", ".gz", ".zst"):
        return "; unpack it, and name its folder"
    if has_images([path.name]):
        return "; a single image has no label: name the folder of its class folders"
    return ""


def _is_there(path: Path) -> bool:
    """Has a folder a form other than that of any folder, or folders of its own?"""
    form = _form(path)
    return form is not None and (not form.last or any(e.is_dir() for e in entries(path)))


def _form(path: Path) -> DataForm | None:
    """The form of what lies at a path, the first that it has."""
    forms: list[DataForm] = sorted(map(DATA_FORMS.__getitem__, DATA_FORMS), key=lambda f: f.last)
    return next((form for form in forms if form.finds(path)), None)
