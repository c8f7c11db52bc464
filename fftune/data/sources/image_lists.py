"""Lists of images and labels: `metadata.csv` and `metadata.jsonl`, as `datasets` names them."""

import csv
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fftune.data.data_form import DataForm, Place
from fftune.data.dataset import Source
from fftune.data.files_below import files_below, glimpse, has_images, left_out
from fftune.data.images import Files, has_colour
from fftune.data.labels import numbering, plain_labels
from fftune.data.naming import LABEL, TEST, TRAIN, chosen_column, chosen_parts, natural
from fftune.data.official_split import OfficialSplit, PartName, Parts
from fftune.errors import DataError
from fftune.stored_file import read_text, reading

NAMES = ("metadata.csv", "metadata.jsonl")
ENDINGS = (".csv", ".jsonl")
FILE = ("file_name", "image_file_name")
"""Names of the column of files, which are told from the list's folder."""
WHOLE_NUMBER = re.compile(r"[+-]?\d+(\.0*)?")


@dataclass(frozen=True, slots=True)
class _Row:
    """Line of a list."""

    list: Path
    file: str
    """Name as it stands there."""
    label: Any
    """None where there is none."""


@dataclass(slots=True)
class _Listed:
    """Images of a part that are there, with their labels, in their order."""

    paths: list[str] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    read: set[Path] = field(default_factory=set)
    """Lists that they are in."""
    missing: int = 0
    unlabelled: int = 0

    @property
    def lists(self) -> str:
        first = repr(str(min(self.read)))
        return f"the list {first}" if len(self.read) == 1 else f"{len(self.read)} lists, as {first}"

    @property
    def lacks(self) -> str:
        """Words on lines that are left out; empty if there are none."""
        counts = {"missing": self.missing, "without a label": self.unlabelled}
        some = [f"{count:,} {what}" for what, count in counts.items() if count]
        return f"of listed images {' and '.join(some)} are left out" if some else ""


def image_lists(place: Place) -> Parts:
    """Lists of images beside them, a line each with a file's name and its label.

    A list is in the folder of its part, as `train/metadata.csv`, or above the parts, with names as
    in `train/0001.png`. Examples are in the order of the lists' names, and of each list. Labels are
    numbered as `labels.numbering` says; in CSV they are numbers where all are whole. Listed files
    that are missing or have no label, and images that no list has, are left out and counted.

    Raises:
        DataError: a list is damaged, names a file twice or outside the set, has no image that is
            there, or what is the label is not clear.
    """
    root, files = _lists(place.path)
    rows = _numbered([row for path in files for row in _rows(path, place)])
    listed = _by_part(root, rows)
    where = repr(str(place.path))
    labels = {part: plain_labels(found.labels, found.lists) for part, found in listed.items()}
    first = labels.get("train", labels[next(iter(labels))])
    numbers = bool(first) and isinstance(first[0], int)
    known = [label for each in labels.values() for label in each] if numbers else first
    order = numbering(known, where, count=place.count)
    paths = next(iter(listed.values())).paths
    channels = len(place.mean)
    if not channels:
        channels = 3 if has_colour(len(paths), Files(paths, 0).opened) else 1
    mean, std = place.normalisation(channels)
    source = Source(name=place.name, classes=order.classes, mean=mean, std=std)
    out = _others(root, files, listed)
    return {
        part: OfficialSplit(
            source=source,
            name=part,
            y=order.y(labels[part], where),
            images=Files(found.paths, channels, root=str(root)),
            origin=", ".join(filter(None, [found.lists, found.lacks, order.said, out])),
        )
        for part, found in listed.items()
    }


def _finds(path: Path) -> bool:
    """Is it a list, or a folder of images with a list of their labels?

    Class folders with a list of something else, as of captions, are class folders.
    """
    if path.is_file():
        return path.suffix.lower() in ENDINGS
    names = glimpse(path) if path.is_dir() else []
    lists = [name for name in names if os.path.basename(name) in NAMES]
    if not lists:
        return False
    columns = _header(path / min(lists))
    if not {*columns} & {*FILE}:
        return False
    holders = {os.path.dirname(name) for name in names if has_images([name])}
    classes = {holder for holder in holders if holder.casefold() not in ("", *TRAIN, *TEST)}
    return bool({name.casefold() for name in columns} & {*LABEL}) or len(classes) < 2


def _lists(path: Path) -> tuple[Path, list[Path]]:
    """The folder that images are told from, and the lists."""
    if path.is_file():
        return path.parent, [path]
    found = (name for name in files_below(path) if os.path.basename(name) in NAMES)
    names = sorted((name for name in found if "/." not in f"/{name}"), key=natural)
    return path, [path / name for name in names]


def _header(path: Path) -> list[str]:
    """Names of a list's columns, of its first line alone.

    Raises:
        DataError: it is damaged.
    """
    with (
        reading(path, "list of images", DataError),
        path.open(encoding="utf-8-sig", newline="") as file,
    ):
        line = file.readline()
        if path.suffix.lower() == ".csv":
            return next(csv.reader([line], delimiter=_delimiter(line)), [])
        return list(_object(line))


def _table(path: Path) -> list[dict[str, Any]]:
    """The rows of a list, each by the names of its columns.

    Raises:
        DataError: it is damaged.
    """
    text = read_text(path, "list of images", DataError).removeprefix("\ufeff")
    with reading(path, "list of images", DataError):
        if path.suffix.lower() == ".csv":
            first = text.partition("\n")[0]
            reader = csv.DictReader(
                io.StringIO(text, newline=""), delimiter=_delimiter(first), strict=True
            )
            rows = list(reader)
        else:
            rows = [_object(line) for line in text.split("\n") if line.strip()]
        if long := [number for number, row in enumerate(rows, 1) if None in row]:
            raise DataError(f"row {long[0]} has more values than there are columns")
        if not rows:
            raise DataError("it has no rows")
        return rows


def _delimiter(header: str) -> str:
    """The separator of values: a comma, or what some programs and languages have instead."""
    return max(",;\t", key=header.count)


def _object(line: str) -> dict[str, Any]:
    row = json.loads(line)
    if not isinstance(row, dict):
        raise DataError(f"{line:.20}... is no JSON object")
    return row


def _rows(path: Path, place: Place) -> list[_Row]:
    table, where = _table(path), f"list of images {str(path)!r}"
    columns = list(dict.fromkeys(name for row in table for name in row))
    files = columns if place.image else [name for name in columns if name in FILE]
    file = chosen_column(files, FILE, said=place.image, what="image", where=where)
    others = [name for name in columns if name != file]
    label = chosen_column(others, LABEL, said=place.label, what="label", where=where)
    rows = [_Row(path, row.get(file) or "", row.get(label)) for row in table]
    for number, row in enumerate(rows, 1):
        if not isinstance(row.file, str) or not row.file or "\0" in row.file:
            raise DataError(f"{where}, row {number}: {file} must be the name of a file")
    return rows


def _numbered(rows: Sequence[_Row]) -> list[_Row]:
    """Rows whose labels are numbers, where all that stand in CSV are whole; `""` is none."""
    rows = [replace(row, label=None) if row.label == "" else row for row in rows]
    words = [row.label for row in rows if row.list.suffix.lower() == ".csv" and row.label]
    if not all(WHOLE_NUMBER.fullmatch(word.strip()) for word in words):
        return rows
    return [
        replace(row, label=int(row.label.partition(".")[0]))
        if row.list.suffix.lower() == ".csv" and row.label
        else row
        for row in rows
    ]


def _by_part(root: Path, rows: Sequence[_Row]) -> dict[PartName, _Listed]:
    """Images of each part; of the whole, where one has no part.

    Raises:
        DataError: there is none, or a row names a file outside the set or twice.
    """
    words = {name: _word(name) for name in _names(root, rows)}
    parts: dict[str, PartName] = {word: part for part, word in chosen_parts(words.values()).items()}
    if "" in words.values():
        parts = dict.fromkeys(words.values(), "whole")
    found: dict[PartName, _Listed] = {part: _Listed() for part in parts.values()}
    for row, (name, word) in zip(rows, words.items(), strict=True):
        if word not in parts:  # as validation beside test
            continue
        listed, path = found[parts[word]], str(root / name)
        listed.read.add(row.list)
        if row.label is None:
            listed.unlabelled += 1
        elif not os.path.isfile(path):
            listed.missing += 1
        else:
            listed.paths.append(path)
            listed.labels.append(row.label)
    if not any(listed.paths for listed in found.values()):
        first = repr(str(rows[0].list))
        raise DataError(
            f"{first}: of {len(rows):,} images none is there with a label: rows must name images "
            "below its folder"
        )
    return {part: listed for part, listed in found.items() if listed.paths}


def _names(root: Path, rows: Sequence[_Row]) -> list[str]:
    """The images' places below the set's folder.

    Raises:
        DataError: one is outside, or stands there twice.
    """
    seen: dict[str, None] = {}
    for row in rows:
        below = os.path.relpath(row.list.parent, root)
        name = os.path.normpath(os.path.join(below, row.file))
        if name.startswith("..") or os.path.isabs(name):
            raise DataError(f"list of images {str(row.list)!r}: {row.file!r} is outside its folder")
        if name in seen:
            raise DataError(f"list of images {str(row.list)!r} names {row.file!r} again")
        seen[name] = None
    return list(seen)


def _word(name: str) -> str:
    """The word for a part that the first folder of a name is; empty if it is none."""
    first, _, below = name.partition(os.sep)
    return first.casefold() if below and first.casefold() in (*TRAIN, *TEST) else ""


def _others(root: Path, lists: Sequence[Path], listed: Mapping[PartName, _Listed]) -> str:
    """Words on files of the folder that no part has."""
    used = {*map(str, lists), *(path for found in listed.values() for path in found.paths)}
    return left_out(
        root, [root / name for name in files_below(root) if str(root / name) not in used]
    )


IMAGE_LISTS = DataForm(
    files="lists of images and labels (metadata.csv, metadata.jsonl)",
    finds=_finds,
    read=image_lists,
)
