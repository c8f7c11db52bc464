"""WebDataset's tars: members with one name up to its first dot are one example.

Images stay in their files, and are found there by their place; those of a compressed tar are held
in memory.
"""

import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fftune.data.data_form import DataForm, Place
from fftune.data.dataset import Source
from fftune.data.files_below import expanded, glimpse, has_images, left_out
from fftune.data.images import DecodedImage, Frame, Images, Stored, decode, has_colour, suffixes
from fftune.data.labels import numbering, plain_labels
from fftune.data.memory_check import check_fits
from fftune.data.naming import LABEL, chosen_column, grouped, natural
from fftune.data.official_split import OfficialSplit, Parts
from fftune.errors import DataError
from fftune.stored_file import reading

ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2")
JSON = "json"
LARGEST_LABEL = 1 << 20
"""Bytes of a member that holds a label or an example's description."""
CHECKED = 256 << 20
"""Bytes out of compressed files after which it is looked again if memory is left."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a member: at a place of a file, or unpacked already."""

    path: str
    member: str
    offset: int
    size: int
    content: bytes | None = None

    def read(self) -> bytes:
        """Raises `DataError` for a file that cannot be read."""
        if self.content is not None:
            return self.content
        with reading(Path(self.path), "tar", DataError), open(self.path, "rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


@dataclass(frozen=True, slots=True)
class TarImages:
    """Images that are members of tars."""

    pieces: tuple[Piece, ...]
    channels: int
    frame: Frame | None = None

    def __len__(self) -> int:
        return len(self.pieces)

    def read(self, i: int) -> DecodedImage:
        content = io.BytesIO(self.pieces[i].read())
        return decode(content, self.channels, self.where(i), self.frame)

    def where(self, i: int) -> str:
        return f"{self.pieces[i].path}, {self.pieces[i].member}"

    def stored(self, i: int) -> Stored:
        piece = self.pieces[i]
        return Stored(f"{Path(piece.path).name}, {piece.member}", piece.read())

    def framed(self, frame: Frame) -> Images:
        return replace(self, frame=frame)


@dataclass(slots=True)
class _Samples:
    """Examples of several tars, and how many of their samples are none."""

    images: list[Piece] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    incomplete: int = 0


Sample = dict[str, Piece]
"""Members of one name by what follows its first dot, as in `jpg` and `cls`."""


def tars(place: Place) -> Parts:
    """Tars of samples, as in `0001.jpg` and `0001.cls`, or a key of `0001.json`.

    Parts are told by the files' names, as in `x-train-{000..012}.tar`. Examples are in the order
    of the files' names, and of each file. Labels are numbered as `labels.numbering` says. Samples
    without an image or a label are counted.

    Raises:
        DataError: a file is damaged, there is no whole sample, or what is the label is not clear.
    """
    files, others = _files(place.path)
    groups = grouped(place.path, files)
    label, found = "", {}
    for part, paths in groups.items():
        label, found[part] = _read(paths, place, label)
    labels = {
        part: plain_labels(samples.labels, _where(groups[part], label))
        for part, samples in found.items()
    }
    first = labels.get("train", next(iter(labels.values())))
    every = [value for each in labels.values() for value in each]
    known = every if isinstance(first[0], int) else first
    order = numbering(known, _where(files, label), count=place.count)
    pieces = [piece for samples in found.values() for piece in samples.images]
    channels = len(place.mean)
    if not channels:
        colour = has_colour(len(pieces), lambda i: io.BytesIO(pieces[i].read()))
        channels = 3 if colour else 1
    mean, std = place.normalisation(channels)
    source = Source(name=place.name, classes=order.classes, mean=mean, std=std)
    used = {path for paths in groups.values() for path in paths}
    out = left_out(place.path, [*others, *(path for path in files if path not in used)])
    return {
        part: OfficialSplit(
            source=source,
            name=part,
            y=order.y(labels[part], _where(groups[part], label)),
            images=TarImages(tuple(samples.images), channels),
            origin=_origin(groups[part], [f"labels {label!r}", _lost(samples), order.said, out]),
        )
        for part, samples in found.items()
    }


def _finds(path: Path) -> bool:
    """Is there a tar, and no image beside it? Archives are left lying by what they held."""
    if path.is_dir():
        names = glimpse(path)
        return any(map(_is_tar, names)) and not has_images(names)
    return _is_tar(path.name)


def _is_tar(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


def _files(path: Path) -> tuple[list[Path], list[Path]]:
    """Tars, sorted by name, and all other files."""
    found = expanded(path)
    here = [file for file in found if _is_tar(file.name) and file.name[0] != "."]
    if not here:
        raise DataError(f"data.name: there is no file {str(path)!r}")
    others = [file for file in found if file not in set(here)]
    return sorted(here, key=lambda file: natural(str(file))), others


def _read(paths: Sequence[Path], place: Place, label: str) -> tuple[str, _Samples]:
    """The examples of a part, and what their labels are called.

    Args:
        label: as another part has them; empty: it is found in the first whole sample.
    """
    found = _Samples()
    for path in paths:
        for sample in _samples(path).values():
            image = _image_of(sample, place, path)
            fields = _fields(sample) if image else {}
            if image and not label and fields:
                label = _label_of(fields, place, path)
            if image is None or fields.get(label) is None:
                found.incomplete += 1
                continue
            found.images.append(image)
            found.labels.append(fields[label])
    if not found.images:
        raise DataError(
            f"{str(paths[0])!r} has no sample of an image and a label, as 1.jpg and 1.cls are; "
            "a packed folder of images is unpacked before, by `tar -xf`"
        )
    return label, found


def _samples(path: Path) -> dict[str, Sample]:
    """The members of a tar by their names up to the first dot."""
    samples: dict[str, Sample] = {}
    packed, taken, told = not path.name.lower().endswith(".tar"), 0, 0
    known = suffixes()
    with reading(path, "tar", DataError), tarfile.open(path) as tar:
        for member in tar:
            folder, _, name = member.name.rpartition("/")
            if not member.isreg() or name[:1] == ".":
                continue
            stem, _, ending = name.partition(".")
            ending = ending.lower()
            content = None
            image = f".{ending.rpartition('.')[2]}" in known
            if (packed and image) or (not image and member.size <= LARGEST_LABEL):
                file = tar.extractfile(member)
                content = file.read() if file else b""
                taken += len(content)
            if taken - told > CHECKED:
                check_fits(path.name, len(samples), CHECKED)
                told = taken
            piece = Piece(str(path), member.name, member.offset_data, member.size, content)
            samples.setdefault(f"{folder}/{stem}", {})[ending] = piece
    return samples


def _image_of(sample: Sample, place: Place, path: Path) -> Piece | None:
    """The image of a sample, or None.

    Raises:
        DataError: there are several, and none is the one that was asked for.
    """
    known = suffixes()
    images = [end for end in sample if f".{end.rpartition('.')[2]}" in known]
    if place.image:
        return sample.get(place.image.lower())
    plain = [end for end in images if "." not in end] or images
    if len(plain) > 1:
        shown = ", ".join(plain)
        raise DataError(f"{str(path)!r}: which is the image? {shown}; add ,image=NAME to the name")
    return sample[plain[0]] if plain else None


def _fields(sample: Sample) -> dict[str, Any]:
    """Candidates for the label of a sample, by name: texts, and values of its JSON."""
    found: dict[str, Any] = {}
    for ending, piece in sample.items():
        if piece.content is None or f".{ending.rpartition('.')[2]}" in suffixes():
            continue
        if ending == JSON:
            found |= _described(piece)
            continue
        name = ending.removesuffix(".txt")
        if name in LABEL or name == "txt":
            found[name] = _value(piece.content)
    return found


def _described(piece: Piece) -> dict[str, Any]:
    with reading(Path(piece.path), "tar", DataError):
        values = json.loads(piece.content or b"{}")
    if not isinstance(values, Mapping):
        return {}
    return {k: v for k, v in values.items() if isinstance(v, int | str) and not isinstance(v, bool)}


def _value(content: bytes) -> int | str:
    """A label as a member holds it: a whole number, or a name."""
    text = content.decode("utf-8", "replace").strip()
    try:
        return int(text)
    except ValueError:
        return text


def _label_of(fields: Mapping[str, Any], place: Place, path: Path) -> str:
    names = list(fields)
    where = repr(str(path))
    return chosen_column(names, LABEL, said=place.label, what="label", where=where)


def _where(paths: Sequence[Path], label: str) -> str:
    return f"{str(paths[0])!r}, {label!r}"


def _lost(samples: _Samples) -> str:
    count = samples.incomplete
    return f"{count:,} samples without an image or a label are left out" if count else ""


def _origin(paths: Sequence[Path], words: Sequence[str]) -> str:
    files = f"the tar {str(paths[0])!r}"
    if len(paths) > 1:
        files = f"{len(paths):,} tars in {os.path.dirname(paths[0])!r}"
    return ", ".join([files, *filter(None, words)])


TARS = DataForm(files="WebDataset's tars", finds=_finds, read=tars)
