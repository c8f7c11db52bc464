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
        tables = [part.cast(SCHEMA) for part in parts]
        table = pa.concat_tables([SCHEMA.empty_table(), *tables]).unify_dictionaries()
        # Dictionaries cannot be sorted by; their values can.
        plain = {n: table[n].cast(pa.string()) for n in KEY if table.schema.field(n).type == _NAME}
        order = pa.table({n: plain.get(n, table[n]) for n in KEY})
        rows = pa.compute.sort_indices(order, sort_keys=[(n, "ascending") for n in KEY])
        if order.group_by(KEY).aggregate([]).num_rows != len(order):
            raise DataError("outcomes hold two rows for one key")
        return cls(table.take(rows).combine_chunks())

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
    arrays = []
    for field in SCHEMA:
        value = columns[field.name] if field.name != "schema_version" else SCHEMA_VERSION
        spread = value if hasattr(value, "__len__") and not isinstance(value, str) else None
        kind = pa.string() if field.type == _NAME else field.type
        array = pa.array(spread if spread is not None else [value] * count, kind)
        arrays.append(array.cast(field.type))
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _read(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"outcomes {str(path)!r} cannot be read: {error}") from None
    if table.schema.names != SCHEMA.names:
        raise DataError(f"outcomes {str(path)!r} are of another schema than {SCHEMA_VERSION}")
    return table
