"""Rows of Parquet and Arrow files: a column at once, or images a group of rows at a time."""

import io
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fftune.data.images import DecodedImage, Frame, Images, Stored, decode
from fftune.errors import DataError
from fftune.stored_file import reading

PARQUET, ARROW = ".parquet", ".arrow"
HELD = 10**9
"""Bytes of encoded images that are kept in memory, over all files."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of rows in groups."""

    path: str
    begins: tuple[int, ...]
    """First row of each group, and the number of rows."""


@dataclass(frozen=True, slots=True)
class ShardImages:
    """A column of encoded images in several files."""

    shards: tuple[Shard, ...]
    column: str
    channels: int
    frame: Frame | None = None

    def __len__(self) -> int:
        return sum(shard.begins[-1] for shard in self.shards)

    def read(self, i: int) -> DecodedImage:
        return decode(self.encoded(i), self.channels, self.where(i), self.frame)

    def where(self, i: int) -> str:
        shard, row = self._at(i)
        return f"{shard.path}, row {row}"

    def stored(self, i: int) -> Stored:
        shard, row = self._at(i)
        return Stored(f"{Path(shard.path).name}, row {row}", self.encoded(i).getvalue())

    def framed(self, frame: Frame) -> Images:
        return replace(self, frame=frame)

    def encoded(self, i: int) -> io.BytesIO:
        """The bytes of one image, as a file.

        Raises:
            DataError: the row holds none.
        """
        shard, row = self._at(i)
        group = next(g for g, end in enumerate(shard.begins[1:]) if row < end)
        value = _group(shard.path, group, self.column)[row - shard.begins[group]].as_py()
        return io.BytesIO(_bytes_of(value, self.column, Path(shard.path), self.where(i)))

    def _at(self, i: int) -> tuple[Shard, int]:
        """The file of an image, and its row there."""
        for shard in self.shards:
            if i < shard.begins[-1]:
                return shard, i
            i -= shard.begins[-1]
        raise IndexError(i)


def schema_of(path: Path) -> Any:
    """Names and types of a file's columns, as pyarrow has them; raises `DataError`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix.lower() == ARROW:
        with reading(path, "Arrow file", DataError), pa.memory_map(str(path)) as file:
            return _stream(file).schema
    with reading(path, "Parquet file", DataError):
        return pq.read_schema(path)


def shard_of(path: Path) -> Shard:
    """The groups of a file.

    Raises:
        DataError: it is damaged, or has no rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix.lower() == ARROW:
        with reading(path, "Arrow file", DataError), pa.memory_map(str(path)) as file:
            sizes = [len(batch) for batch in _batches(file)]
    else:
        with reading(path, "Parquet file", DataError), pq.ParquetFile(path) as table:
            meta = table.metadata
            sizes = [meta.row_group(g).num_rows for g in range(meta.num_row_groups)]
    begins = [0]
    for size in sizes:
        begins.append(begins[-1] + size)
    return Shard(str(path), tuple(begins))


def column_of(path: Path, column: str) -> list[Any]:
    """All values of a column; raises `DataError` for a damaged file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix.lower() == ARROW:
        with reading(path, "Arrow file", DataError), pa.memory_map(str(path)) as file:
            return [value for batch in _batches(file) for value in batch.column(column).to_pylist()]
    with reading(path, "Parquet file", DataError):
        values: list[Any] = pq.read_table(path, columns=[column])[column].to_pylist()
        return values


def _stream(file: Any) -> Any:
    """The batches of an Arrow file, in either of its two layouts."""
    import pyarrow as pa

    try:
        return pa.ipc.open_stream(file)
    except pa.ArrowInvalid:
        file.seek(0)
        return pa.ipc.open_file(file)


def _batches(file: Any) -> Iterator[Any]:
    opened = _stream(file)
    if hasattr(opened, "num_record_batches"):
        return (opened.get_batch(i) for i in range(opened.num_record_batches))
    return iter(opened)


class _Groups:
    """Groups of rows that were read last, up to `HELD` bytes of them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, path: str, group: int, column: str) -> Any:
        """A column of a group; raises `DataError` for a damaged file."""
        with reading(Path(path), "Parquet file", DataError):
            state = os.stat(path)
        key = path, state.st_mtime_ns, state.st_size, group, column
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            values = _read_group(Path(path), group, column)
            self._kept[key] = values
            self._bytes += values.nbytes
            while self._bytes > HELD and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
            return values


_GROUPS = _Groups()


def _group(path: str, group: int, column: str) -> Any:
    return _GROUPS.get(path, group, column)


def _read_group(path: Path, group: int, column: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix.lower() == ARROW:
        with reading(path, "Arrow file", DataError), pa.memory_map(str(path)) as file:
            return next(b for i, b in enumerate(_batches(file)) if i == group).column(column)
    with reading(path, "Parquet file", DataError), pq.ParquetFile(path) as table:
        return table.read_row_group(group, columns=[column])[column]


def _bytes_of(value: Any, column: str, file: Path, where: str) -> bytes:
    """An image of a row: its bytes, or those of the file that it names.

    Raises:
        DataError: it is neither.
    """
    found = value.get("bytes") if isinstance(value, Mapping) else value
    if isinstance(found, bytes):
        return found
    name = value.get("path") if isinstance(value, Mapping) else value
    if not isinstance(name, str):
        raise DataError(f"{where}: column {column!r} must hold encoded images in every row")
    path = file.parent / name
    with reading(path, "image", DataError):
        return path.read_bytes()
