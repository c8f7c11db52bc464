"""Tables of encoded images: Parquet files, and Arrow files as `datasets` saves them."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fftune.data.data_form import DataForm, Place
from fftune.data.dataset import Source
from fftune.data.files_below import expanded, left_out
from fftune.data.images import has_colour
from fftune.data.labels import numbering, plain_labels
from fftune.data.naming import IMAGE, LABEL, chosen_column, grouped, natural, word_of_part
from fftune.data.official_split import OfficialSplit, Parts
from fftune.data.row_groups import ARROW, PARQUET, ShardImages, column_of, schema_of, shard_of
from fftune.errors import DataError


def shards(place: Place) -> Parts:
    """Files of rows, each with an encoded image and its label.

    Parts are told by the names of files or of folders, as in `data/train-00000-of-00002.parquet`;
    files without such names are one set without official parts. Rows are in the order of the
    files' names, and of each file. An image is bytes, or a struct of `bytes` and `path`; labels
    are numbered as `labels.numbering` says, by the names that `datasets` stores with them.

    Raises:
        DataError: columns are missing, several or of another kind; a file is damaged; or parts
            lie in several folders.
    """
    files, others = _tables(place.path)
    groups = grouped(place.path, files)
    for paths in groups.values():
        _refuse_several(paths, place.path)
    schema = schema_of(files[0])
    where = repr(str(place.path))
    image, label, note = _columns(schema, place, where)
    found = {part: [shard_of(path) for path in paths] for part, paths in groups.items()}
    labels = {
        part: plain_labels(
            [value for path in paths for value in column_of(path, label)], _where(paths, label)
        )
        for part, paths in groups.items()
    }
    first = labels.get("train", labels[next(iter(labels))])
    numbers = _has_numbers(first)
    known = [value for each in labels.values() for value in each] if numbers else first
    order = numbering(known, where, names=_class_names(schema, label), count=place.count)
    columns = {part: ShardImages(tuple(each), image, 3) for part, each in found.items()}
    channels = len(place.mean)
    if not channels:
        colour = any(has_colour(len(each), each.encoded) for each in columns.values())
        channels = 3 if colour else 1
    mean, std = place.normalisation(channels)
    source = Source(name=place.name, classes=order.classes, mean=mean, std=std)
    used = {path for paths in groups.values() for path in paths}
    out = left_out(place.path, [*others, *(path for path in files if path not in used)])
    return {
        part: OfficialSplit(
            source=source,
            name=part,
            y=order.y(labels[part], _where(paths, label)),
            images=replace(columns[part], channels=channels),
            origin=_origin(paths, [f"column {image!r}", note, _missing(paths), order.said, out]),
        )
        for part, paths in groups.items()
    }


def _finds(path: Path) -> bool:
    """Is there a table of images?"""
    files, _ = _tables(path)
    if path.is_file() or not files:
        return bool(files)
    try:
        return bool(_of_images(schema_of(files[0])))
    except DataError:
        return True  # reading it says what is wrong


def _tables(path: Path) -> tuple[list[Path], list[Path]]:
    """Files of tables, sorted by name, and all others."""
    tables: list[Path] = []
    others: list[Path] = []
    for file in expanded(path):
        aside = file.name.startswith(("cache-", "tmp"))  # of maps of `datasets`
        table = file.suffix.lower() in (PARQUET, ARROW) and not aside
        (tables if table else others).append(file)
    return sorted(tables, key=lambda file: natural(str(file))), others


def _refuse_several(files: Sequence[Path], root: Path) -> None:
    """Refuse files of one part in several folders, as several data sets lie.

    Raises:
        DataError: the folders are named.
    """
    folders = sorted({str(file.parent) for file in files if not word_of_part(file.parent.name)})
    if len(folders) > 1:
        shown = " or ".join(repr(folder) for folder in folders[:4])
        raise DataError(f"{str(root)!r} holds several data sets: name one of {shown}")


def _columns(schema: Any, place: Place, where: str) -> tuple[str, str, str]:
    """The columns of images and labels, and what to say of labels that others could be."""
    of_images, of_labels = _of_images(schema), _of_labels(schema)
    image = chosen_column(of_images, IMAGE, said=place.image, what="image", where=where)
    others = [name for name in of_labels if name != image]
    label = chosen_column(others, LABEL, said=place.label, what="label", where=where)
    beside = [name for name in others if name != label and name.casefold() in LABEL]
    note = f", not {', '.join(map(repr, beside))}" if beside else ""
    return image, label, f"labels {label!r}{note}"


def _of_images(schema: Any) -> list[str]:
    """Columns that could hold encoded images, or their paths."""
    import pyarrow as pa

    def holds(kind: Any) -> bool:
        if pa.types.is_struct(kind):
            return any(f.name == "bytes" and _is_binary(f.type) for f in kind)
        return _is_binary(kind)

    named = [f.name for f in schema if _is_text(f.type) and f.name.casefold() in IMAGE]
    return [field.name for field in schema if holds(field.type)] + named


def _of_labels(schema: Any) -> list[str]:
    """Columns that could hold labels."""
    import pyarrow as pa

    kinds = (pa.types.is_integer, pa.types.is_boolean, pa.types.is_floating, pa.types.is_dictionary)
    return [f.name for f in schema if _is_text(f.type) or any(is_it(f.type) for is_it in kinds)]


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _has_numbers(labels: Sequence[Any]) -> bool:
    return bool(labels) and isinstance(labels[0], int)


def _class_names(schema: Any, label: str) -> tuple[str, ...]:
    """Names of the classes, as `datasets` stores them beside the schema; else none."""
    stored = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        feature = json.loads(stored)["info"]["features"][label]
        return tuple(map(str, feature["names"]))
    except (ValueError, LookupError, TypeError):
        return ()


def _where(paths: Sequence[Path], label: str) -> str:
    shown = str(paths[0]) if len(paths) == 1 else str(paths[0].parent)
    return f"{shown!r}, column {label!r}"


def _missing(paths: Sequence[Path]) -> str:
    """Words for where files are numbered `00000-of-00005`, and some are not here."""
    numbers = [re.search(r"-(\d+)-of-(\d+)", path.stem) for path in paths]
    if not all(numbers) or not numbers[0]:
        return ""
    lacks = int(numbers[0][2]) - len(paths)
    return f"{lacks} of {int(numbers[0][2])} files are missing" if lacks > 0 else ""


def _origin(paths: Sequence[Path], words: Sequence[str]) -> str:
    place = repr(str(paths[0] if len(paths) == 1 else paths[0].parent))
    what = f"the {'Arrow' if paths[0].suffix.lower() == ARROW else 'Parquet'} file"
    files = f"{what} {place}" if len(paths) == 1 else f"{len(paths)} {what[4:]}s in {place}"
    return ", ".join([files, *filter(None, words)])


SHARDS = DataForm(files="Parquet or Arrow files", finds=_finds, read=shards)
