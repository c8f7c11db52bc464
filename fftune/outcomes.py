"""Rows about single examples: the one form in which every result is stored.

Every table, risk, interval and comparison is a group-by of these rows, so that resuming,
sharding over machines and merging are exact. The questions that rows answer travel inside them,
in the metadata of their Arrow schema.
"""

import functools
import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from fftune.errors import DataError
from fftune.storage import write_whole
from fftune.stored_file import reading

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

SCHEMA_VERSION = 2
ZERO, NAN, SOME_NAN = "zero-gradient", "nan-gradient", "some nan-gradients"
"""Statuses of examples whose gradients all vanished; were never finite; were not everywhere."""

CERTIFIED: Literal["certified"] = "certified"
"""Protocol, and attack's name, of rows that bound what any attack could reach."""

STORED = "stored-"
"""Beginning of what stands for a defense in rows of points that were stored in a form of files."""

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
        ("pred_clean", pa.int32()),  # the bare net's
        ("pred_clean_defended", pa.int32()),  # behind the row's own draw of its defense
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
"""Columns that identify a row; the others hold its result."""
_FIRST = [name for name in SCHEMA.names if name != "pred_clean_defended"]
"""Columns of schema version 1."""
_METADATA = b"fftune"
"""Metadata key of a JSON object with `questions`, and in files with `rows` and `content`, so that a
part of a file is not taken for the whole."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Rows of `SCHEMA`, sorted by `KEY`, each key once."""

    table: pa.Table

    @classmethod
    def of(cls, parts: Iterable[pa.Table]) -> "Outcomes":
        """Merge tables in any order; the result answers the questions of all of them.

        Raises:
            DataError: two rows have one key.
        """
        parts = list(parts)
        table = pa.concat_tables([_PLAIN.empty_table(), *(part.cast(_PLAIN) for part in parts)])
        if table.group_by(KEY).aggregate([]).num_rows != len(table):
            raise DataError("outcomes hold two rows for one key")
        table = table.sort_by([(name, "ascending") for name in KEY])
        questions = [q for part in parts for q in _said(part.schema)["questions"]]
        return cls(table.combine_chunks().cast(SCHEMA)).answering(*questions)

    @classmethod
    def read(cls, *paths: Path) -> "Outcomes":
        """Read rows from Parquet files.

        Raises:
            DataError: a file is missing, damaged, of another schema, or a part of what it was.
        """
        return cls.of(_read(path) for path in paths)

    def write(self, path: Path) -> None:
        """Write one Parquet file, whole or not at all."""
        said = {"questions": self.questions, "rows": len(self), "content": content_of(self.table)}
        table = _saying(self.table, said)
        write_whole(path, lambda part: pq.write_table(table, part, compression="zstd"))

    @property
    def questions(self) -> tuple[dict[str, Any], ...]:
        """Questions that these rows answer, as plain JSON; empty where they are not known."""
        return tuple(_said(self.table.schema)["questions"])

    def answering(self, *questions: Mapping[str, Any]) -> "Outcomes":
        """Return the same rows with these questions in their metadata, each of them once."""
        distinct = {json.dumps(q, sort_keys=True): dict(q) for q in questions}
        return Outcomes(_saying(self.table, {"questions": list(distinct.values())}))

    def where(self, **equal: object) -> "Outcomes":
        """Select the rows whose columns have these values."""
        mask: Any = True
        for name, value in equal.items():
            mask = (pa.compute.field(name) == value) & mask
        return Outcomes(self.table.filter(mask)) if equal else self

    @property
    def defenses(self) -> frozenset[str]:
        """Names of the defenses that rows were scored behind."""
        return frozenset(d for d in self.values("defense") - {"none"} if not d.startswith(STORED))

    @property
    def stored_forms(self) -> frozenset[str]:
        """Forms in which perturbed images were stored and scored again, as in `png`."""
        names = self.values("defense")
        return frozenset(d.removeprefix(STORED) for d in names if d.startswith(STORED))

    def among(self, ids: Iterable[int]) -> "Outcomes":
        """Select the rows of these examples."""
        wanted = pa.array(sorted(ids), pa.int64())
        return Outcomes(self.table.filter(pa.compute.is_in(self.table["id"], value_set=wanted)))

    def values(self, column: str) -> set[Any]:
        """Distinct values of a column."""
        return set(self.table[column].unique().to_pylist())

    def to_pandas(self) -> "pd.DataFrame":
        """Convert to a pandas frame."""
        frame: pd.DataFrame = self.table.to_pandas()
        return frame

    def __len__(self) -> int:
        return int(self.table.num_rows)


def rows(count: int, columns: dict[str, Sequence[Any] | Any]) -> pa.Table:
    """Build `count` rows; a column is a sequence of that length, or one value for all of them."""
    columns = {"schema_version": SCHEMA_VERSION, **columns}
    columns.setdefault("pred_clean_defended", columns["pred_clean"])
    spread = {
        name: [value] * count if isinstance(value, str) or not hasattr(value, "__len__") else value
        for name, value in columns.items()
    }
    return pa.Table.from_arrays([pa.array(spread[f.name], f.type) for f in _PLAIN], schema=_PLAIN)


def questions_in(path: Path) -> tuple[dict[str, Any], ...]:
    """Read the questions that the rows of a file answer, without the rows.

    Raises:
        DataError: the file is missing or damaged.
    """
    with reading(path, "outcomes", DataError):
        return tuple(_said(pq.read_schema(path))["questions"])


def require_rows(path: Path) -> None:
    """Check that a file holds rows, of whatever question.

    Raises:
        DataError: it holds something else, or is damaged.
    """
    with reading(path, "outcomes", DataError):
        if pq.read_schema(path).names not in (SCHEMA.names, _FIRST):
            raise DataError(f"outcomes {str(path)!r} are of another schema")


def _read(path: Path) -> pa.Table:
    with reading(path, "outcomes", DataError):
        return _checked(path, pq.read_table(path))


def _checked(path: Path, table: pa.Table) -> pa.Table:
    said = _said(table.schema)
    if table.schema.names == _FIRST:
        _say_old()
        return _from_first(table)
    versions = table["schema_version"].unique().to_pylist() if len(table) else [SCHEMA_VERSION]
    if table.schema.names != SCHEMA.names or versions != [SCHEMA_VERSION]:
        raise DataError(f"outcomes {str(path)!r} are of another schema than {SCHEMA_VERSION}")
    _check_whole(path, table, said)
    return table


def _check_whole(path: Path, table: pa.Table, said: Mapping[str, Any]) -> None:
    """Refuse a file that is valid, and still not what was written.

    Raises:
        DataError: rows are missing, or they are not of the examples that the question is about.
    """
    if len(table) != said.get("rows"):
        held = f"{len(table)} of {said.get('rows', 'an unknown number of')} rows"
        raise DataError(f"outcomes {str(path)!r} hold {held}: the file was cut or edited")
    if content_of(table) != said.get("content"):
        raise DataError(f"outcomes {str(path)!r} are not the rows that were written there")
    for question in said["questions"]:
        ids = pa.compute.unique(table["id"].filter(_about(table, question)))
        if len(ids) > question.get("examples", len(ids)):
            asked = f"{len(ids)} examples, the question is about {question['examples']}"
            raise DataError(f"outcomes {str(path)!r} hold {asked}")


def _about(table: pa.Table, question: Mapping[str, Any]) -> Any:
    """Mask of the rows of a question's images."""
    mask = pa.array([True] * len(table))
    for name in ("dataset_hash", "split"):
        if name in question:
            same = pa.compute.equal(table[name].cast(pa.string()), question[name])
            mask = pa.compute.and_(mask, same)
    return mask


def content_of(table: pa.Table) -> str:
    """Digest of the rows' ids and predictions, 16 hex digits."""
    digest = hashlib.sha256()
    for name in ("id", "defense_repeat", "y", "pred_clean", "pred_clean_defended", "pred_pert"):
        column = table[name].cast(pa.int64()).fill_null(-1)
        digest.update(column.to_numpy().tobytes())
    return digest.hexdigest()[:16]


def _from_first(table: pa.Table) -> pa.Table:
    """Convert rows of version 1, which had no `pred_clean_defended` and a tier "standard"."""
    tier = table["tier"].cast(pa.string())
    now = pa.compute.if_else(pa.compute.equal(tier, "standard"), "escalating", tier)
    place = table.schema.names.index("tier")
    table = table.set_column(place, SCHEMA.field("tier"), now.cast(_NAME))
    bare = pa.compute.equal(table["defense"].cast(pa.string()), "none")
    clean = pa.compute.if_else(bare, table["pred_clean"], pa.scalar(None, pa.int32()))
    at = SCHEMA.names.index("pred_clean_defended")
    return table.add_column(at, SCHEMA.field(at), clean.cast(pa.int32()))


@functools.cache
def _say_old() -> None:
    log.warning(
        "outcomes of schema 1 are read: they do not say what a defended net answers to the clean "
        "image, so that risks of defended nets need them evaluated again"
    )


def _said(schema: pa.Schema) -> dict[str, Any]:
    """Metadata of a schema, with `questions` always.

    Raises:
        ArrowInvalid: they are damaged.
    """
    text = (schema.metadata or {}).get(_METADATA, b"{}")
    try:
        said = {"questions": [], **json.loads(text)}
        if not all(isinstance(question, dict) for question in said["questions"]):
            raise TypeError("questions are no objects")
        return said
    except (ValueError, TypeError, RecursionError) as error:
        raise pa.ArrowInvalid(f"metadata are damaged: {error}") from None


def _saying(table: pa.Table, said: Mapping[str, Any]) -> pa.Table:
    others = table.schema.metadata or {}
    text = json.dumps(said, separators=(",", ":"))
    return table.replace_schema_metadata({**others, _METADATA: text.encode()})
