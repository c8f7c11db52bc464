"""Perturbed images that an evaluation kept: the exact points, and a table that says whose they are.

    DIR/index.parquet    a row a point: columns of its row in the outcomes, then `file`, `position`
    DIR/<name>.npz       of one attack on one block: `ids` (N,) int64, `x` and `x_pert` (N, C, H, W)
                         float32 in [0, 1]; `x_pert` may leave it where the ball is unclamped

The points are those of the bare net's rows (`defense` "none"); what a defended net says of them
stands in the outcomes. `numpy.load` and `pandas.read_parquet` read both without fftune.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from fftune.errors import DataError
from fftune.names import is_plain, plain_name
from fftune.outcomes import SCHEMA
from fftune.storage import make_folder, storing, write_whole
from fftune.stored_file import reading

INDEX = "index.parquet"
WHOSE = (
    *("dataset_hash", "split", "id", "model_hash", "attack", "config_hash"),
    *("norm", "eps", "goal", "target", "seed", "restart"),
)
"""Columns that name a point, as in the outcomes."""
SAID = ("y", "pred_clean", "pred_pert", "success", "distance")
"""Columns that say what came of it."""
COLUMNS = pa.schema(
    [
        *(
            pa.field(name, pa.string() if pa.types.is_dictionary(found) else found)
            for name in (*WHOSE, *SAID)
            for found in [SCHEMA.field(name).type]
        ),
        pa.field("file", pa.string()),
        pa.field("position", pa.int64()),
    ]
)
"""Columns of the index."""
_CLASSES = b"fftune.classes"
"""Metadata key of the names of the classes, in the order of the labels, as JSON."""


def write_points(folder: Path, rows: pa.Table, x: Tensor, x_pert: Tensor) -> pa.Table:
    """Write the points of one attack on one block; return their rows of the index.

    A point that is written again replaces the one that was there: names follow from `WHOSE`.

    Args:
        rows: N rows of `outcomes.SCHEMA`, of one attack and goal on the bare net.
        x, x_pert: (N, C, H, W) floats, clean and perturbed, in the order of the rows.

    Raises:
        StorageError: the disk is full or fails, or the folder cannot be written.
    """
    if set(rows["defense"].to_pylist()) - {"none"} or not len(rows) == len(x) == len(x_pert):
        raise ValueError("points and rows must be those of the bare net, one of each an example")
    index = rows.select([*WHOSE, *SAID])
    whose = repr(index.select(WHOSE).to_pydict()).encode()
    words = f"{rows['attack'][0]}-{rows['goal'][0]}" if len(rows) else "none"
    name = f"{plain_name(words)}-{hashlib.sha256(whose).hexdigest()[:16]}.npz"
    arrays = {
        "ids": rows["id"].to_numpy(),
        "x": x.detach().cpu().float().numpy(),
        "x_pert": x_pert.detach().cpu().float().numpy(),
    }

    def write(part: Path) -> None:
        with part.open("wb") as file:
            np.savez_compressed(file, **arrays)

    with storing(folder):
        make_folder(folder)
    write_whole(folder / name, write)
    places = {"file": [name] * len(rows), "position": range(len(rows))}
    for column, values in places.items():
        index = index.append_column(column, pa.array(values, COLUMNS.field(column).type))
    return index.cast(COLUMNS)


def index_points(folder: Path, parts: Iterable[pa.Table], classes: Sequence[str]) -> Path:
    """Write the index of all points of a folder, when they are all there; return its path.

    Args:
        parts: what `write_points` returned for each.
        classes: names of the classes, in the order of the labels.
    """
    table = pa.concat_tables([COLUMNS.empty_table(), *parts])
    table = table.sort_by([(name, "ascending") for name in WHOSE])
    table = table.replace_schema_metadata({_CLASSES: json.dumps(list(classes)).encode()})
    path = folder / INDEX
    write_whole(path, lambda part: pq.write_table(table, part, compression="zstd"))
    return path


@dataclass(frozen=True, slots=True, eq=False)
class SavedPoints:
    """A folder of perturbed images."""

    folder: Path
    index: pa.Table
    """Rows of `COLUMNS`, sorted by `WHOSE`."""
    classes: tuple[str, ...]
    """Names of the classes, in the order of the labels."""

    @classmethod
    def read(cls, folder: Path) -> "SavedPoints":
        """Read the index of a folder.

        Raises:
            DataError: it is missing, damaged, or no such index.
        """
        path = folder / INDEX
        with reading(path, "index of saved images", DataError):
            table = pq.read_table(path, page_checksum_verification=True)
            if table.schema.names != COLUMNS.names:
                raise DataError("it has other columns")
            table = table.cast(COLUMNS.with_metadata(table.schema.metadata))
            names = set(table["file"].to_pylist())
            if any(name is None or not is_plain(name) for name in names):
                raise DataError("it names no file of its folder")
            classes = json.loads((table.schema.metadata or {})[_CLASSES])
            if not (isinstance(classes, list) and all(isinstance(one, str) for one in classes)):
                raise DataError("its classes are no names")
        return cls(folder=folder, index=table, classes=tuple(classes))

    def images(self, rows: pa.Table) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) float32 clean and perturbed images of some rows of the index.

        Raises:
            DataError: a file is missing, damaged, or of other examples.
        """
        wanted = [rows[name].to_pylist() for name in ("file", "position", "id")]
        read = {name: _arrays(self.folder / name) for name in dict.fromkeys(wanted[0])}
        clean, perturbed = [], []
        for name, at, one in zip(*wanted, strict=True):
            ids, x, x_pert = read[name]
            if not (0 <= at < len(ids)) or ids[at] != one:
                path = str(self.folder / name)
                raise DataError(f"saved images {path!r} are not of the examples of the index")
            clean.append(x[at])
            perturbed.append(x_pert[at])
        return _stacked(clean), _stacked(perturbed)


def _stacked(images: list[Tensor]) -> Tensor:
    return torch.stack(images) if images else torch.empty(0, 0, 0, 0)


def _arrays(path: Path) -> tuple[list[int], Tensor, Tensor]:
    with reading(path, "saved images", DataError):
        with np.load(path, allow_pickle=False) as file:
            ids, x, x_pert = (file[name] for name in ("ids", "x", "x_pert"))
        if x.ndim != 4 or x.shape != x_pert.shape or ids.shape != x.shape[:1]:
            raise DataError("its arrays are not of the same images")
        for array in (x, x_pert):
            if array.dtype != np.float32 or not np.isfinite(array).all():
                raise DataError("its images are not finite float32")
        return ids.tolist(), torch.from_numpy(x), torch.from_numpy(x_pert)
