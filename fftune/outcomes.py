"""Rows about single examples: the one form in which every result is kept.

Every table, risk, interval and comparison is a group-by of these rows, so that resuming,
sharding over machines and merging are exact.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from fftune.errors import DataError
from fftune.storage import write_whole

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1

_NAME = pa.dictionary(pa.int16(), pa.string())
SCHEMA = pa.schema(
    [
        ("schema_version", pa.int16()),
        ("dataset_hash", _NAME),
        ("split", _NAME),
        ("id", pa.int64()),
        ("model_hash", _NAME),
        ("attack", _NAME),
        ("config_hash", _NAME),
        ("norm", _NAME),
        ("eps", pa.float64()),
        ("goal", _NAME),
        ("target", pa.int32()),  # -1: the goal names no target
        ("seed", pa.int64()),
        ("restart", pa.int32()),
        ("protocol", _NAME),
        ("tier", _NAME),
        ("defense", _NAME),
        ("defense_repeat", pa.int32()),
        ("y", pa.int32()),
        ("pred_clean", pa.int32()),
        ("pred_pert", pa.int32()),
        ("success", pa.bool_()),
        ("queries", pa.int64()),
        ("forwards", pa.int64()),
        ("backwards", pa.int64()),
        ("distance", pa.float32()),
        ("status", _NAME),
    ]
)
# Names as plain strings: dictionaries can be neither sorted nor compared.
_PLAIN = pa.schema([(f.name, pa.string() if f.type == _NAME else f.type) for f in SCHEMA])
KEY = SCHEMA.names[: SCHEMA.names.index("defense_repeat") + 1]
"""The columns that say which row it is; the others say what happened."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Rows of `SCHEMA`, sorted by `KEY`, each key once."""

    table: pa.Table

    @classmethod
    def of(cls, parts: Iterable[pa.Table]) -> "Outcomes":
        """Merge parts, in whatever order they come.

        Raises:
            DataError: two rows have one key.
        """
        table = pa.concat_tables([_PLAIN.empty_table(), *(part.cast(_PLAIN) for part in parts)])
        if table.group_by(KEY).aggregate([]).num_rows != len(table):
            raise DataError("outcomes hold two rows for one key")
        table = table.sort_by([(name, "ascending") for name in KEY])
        return cls(table.combine_chunks().cast(SCHEMA))

    @classmethod
    def read(cls, *paths: Path) -> "Outcomes":
        """Rows from Parquet files.

        Raises:
            DataError: a file is missing, damaged or of another schema.
        """
        return cls.of(_read(path) for path in paths)

    def write(self, path: Path) -> None:
        """One Parquet file, whole or not at all."""
        write_whole(path, lambda part: pq.write_table(self.table, part, compression="zstd"))

    def where(self, **equal: object) -> "Outcomes":
        """The rows whose columns have these values."""
        mask: Any = True
        for name, value in equal.items():
            mask = (pa.compute.field(name) == value) & mask
        return Outcomes(self.table.filter(mask)) if equal else self

    def among(self, ids: Iterable[int]) -> "Outcomes":
        """The rows of these examples."""
        wanted = pa.array(sorted(ids), pa.int64())
        return Outcomes(self.table.filter(pa.compute.is_in(self.table["id"], value_set=wanted)))

    def values(self, column: str) -> set[Any]:
        """The distinct values of a column."""
        return set(self.table[column].unique().to_pylist())

    def to_pandas(self) -> "pd.DataFrame":
        """A frame, a row an outcome."""
        frame: pd.DataFrame = self.table.to_pandas()
        return frame

    def __len__(self) -> int:
        return int(self.table.num_rows)


def rows(count: int, columns: dict[str, Sequence[Any] | Any]) -> pa.Table:
    """`count` rows; a column is a sequence of that length, or one value for all of them."""
    columns = {"schema_version": SCHEMA_VERSION, **columns}
    spread = {
        name: [value] * count if isinstance(value, str) or not hasattr(value, "__len__") else value
        for name, value in columns.items()
    }
    return pa.Table.from_arrays([pa.array(spread[f.name], f.type) for f in _PLAIN], schema=_PLAIN)


def _read(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"outcomes {str(path)!r} cannot be read: {error}") from None
    if table.schema.names != SCHEMA.names:
        raise DataError(f"outcomes {str(path)!r} are of another schema than {SCHEMA_VERSION}")
    return table
