"""Format of a beton, FFCV's file of images, version 2, written and read without FFCV.

Little-endian: a header, a description of each field, a record for each example, the images page
by page (none crosses a page), a table of where they lie. FFCV's own writer waits for ever when
one example fails and orders pages by chance; this one does neither, so that equal examples give
equal bytes. FFCV's loader reads these files, and `Beton` reads FFCV's.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fftune.data.images import Pixels, refuse_truncated
from fftune.errors import DataError
from fftune.stored_file import advised, damaged

VERSION = 2
PAGE = 1 << 23
"""8 MiB, FFCV's own default."""
HEADER = np.dtype(
    [("version", "<u2"), ("fields", "<u2"), ("page", "<u4"), ("count", "<u8"), ("table", "<u8")],
    align=True,
)
FIELD = np.dtype([("kind", "u1"), ("name", "S16"), ("arguments", "u1", (1024,))], align=True)
TABLE = np.dtype([("example", "<u8"), ("at", "<u8"), ("size", "<u8")])
INT, RGB, NDARRAY = 1, 2, 4
"""FFCV's numbers for the kinds of fields."""
RGB_RECORD = np.dtype([("mode", "u1"), ("width", "<u2"), ("height", "<u2"), ("at", "<u8")])
JPG, RAW = 0, 1


def _up(at: int, page: int) -> int:
    """The next beginning of a page."""
    return -(-at // page) * page


def _records(kind: int) -> np.dtype[np.void]:
    """A record: image, y, id. FFCV aligns it as C would."""
    image = RGB_RECORD if kind == RGB else np.dtype("<u8")
    return np.dtype([("image", image), ("y", "<i8"), ("id", "<i8")], align=True)


class BetonWriter:
    """Appends examples to an open file; `finish` makes it a beton.

    Args:
        capacity: at least as many examples as will be added.
        grey: images have one channel, and all one size; else three, of any size.
    """

    def __init__(self, file: BinaryIO, capacity: int, *, grey: bool, page: int = PAGE) -> None:
        self.file, self.page = file, page
        self.kind = NDARRAY if grey else RGB
        self.shape: tuple[int, ...] = ()
        self.records = np.zeros(capacity, _records(self.kind))
        self.table = np.zeros(capacity, TABLE)
        self.count = 0
        self.at = _up(HEADER.itemsize + 3 * FIELD.itemsize + self.records.nbytes, page)

    def add(self, content: bytes, shape: tuple[int, ...], *, y: int, i: int, mode: int) -> None:
        """Append an image.

        Args:
            content: the pixels, channels last, or a JPEG file.
            shape: (H, W, C).
            i: the example's id.
            mode: `RAW` or `JPG`.

        Raises:
            DataError: it is larger than a page.
        """
        if len(content) > self.page:
            raise DataError(f"takes {len(content):,} bytes, a page has {self.page:,}")
        if self.at % self.page + len(content) > self.page:
            self.at = _up(self.at, self.page)
        self.shape = shape
        image = self.at if self.kind == NDARRAY else (mode, shape[1], shape[0], self.at)
        self.records[self.count] = (image, y, i)
        self.table[self.count] = (self.count, self.at, len(content))
        self.file.seek(self.at)
        self.file.write(content)
        self.at += len(content)
        self.count += 1

    def finish(self) -> None:
        """Write all that points to the images."""
        table = _up(self.at, self.page)
        self.file.seek(table)
        self.file.write(self.table[: self.count].tobytes())
        header = np.array((VERSION, 3, self.page, self.count, table), HEADER)
        self.file.seek(0)
        self.file.write(header.tobytes() + self._fields().tobytes())
        self.file.write(self.records[: self.count].tobytes())

    def _fields(self) -> NDArray[np.void]:
        fields = np.zeros(3, FIELD)
        fields["kind"], fields["name"] = (self.kind, INT, INT), ("image", "y", "id")
        if self.kind == NDARRAY:
            element = json.dumps(np.dtype("u1").descr).encode()
            shape = np.zeros(33, "<u8")
            shape[:3], shape[32] = self.shape, len(element)
            arguments = np.frombuffer(shape.tobytes() + element, "u1")
            fields["arguments"][0, : len(arguments)] = arguments
        return fields


@dataclass(frozen=True, slots=True, eq=False)
class Beton:
    """An open beton (FFCV file); its images stay on disk."""

    path: Path
    y: NDArray[np.int64]
    ids: NDArray[np.int64]
    shapes: NDArray[np.int64]
    """(N, 3): height, width, channels."""
    modes: NDArray[np.uint8]
    at: NDArray[np.uint64]
    sizes: NDArray[np.uint64]
    content: NDArray[np.uint8]
    """The whole file, mapped."""

    def pixels(self, i: int) -> Pixels:
        """(H, W, C), a copy.

        Raises:
            DataError: it is a JPEG that cannot be decoded.
        """
        begin = int(self.at[i])
        content = self.content[begin : begin + int(self.sizes[i])]
        if self.modes[i] == RAW:
            return content.reshape(self.shapes[i]).copy()
        refuse_truncated()
        try:
            with Image.open(io.BytesIO(content.tobytes())) as image:
                return np.array(image.convert("RGB"))
        except Exception as error:  # of PIL's decoders
            where = f"beton {str(self.path)!r}, example {i},"
            raise DataError(f"{where} cannot be decoded: {error}") from error


def read_beton(path: Path) -> Beton:
    """Open a beton of the fields image, y and id.

    Raises:
        DataError: it cannot be read, or is not such a file.
    """
    try:
        content = np.memmap(path, np.uint8, mode="r")
        header = content[: HEADER.itemsize].view(HEADER)[0]
        if header["version"] != VERSION:
            line = f"beton {str(path)!r} has version {header['version']}, not {VERSION}"
            raise DataError(advised("beton", line))
        return _parsed(path, content, int(header["count"]), int(header["table"]))
    except OSError as error:
        raise DataError(f"beton {str(path)!r}: {error.strerror or error}") from None
    except (ValueError, IndexError) as error:  # too short for what its header says
        raise DataError(damaged("beton", path, str(error))) from None


def _parsed(path: Path, content: NDArray[np.uint8], count: int, table: int) -> Beton:
    fields = content[HEADER.itemsize : HEADER.itemsize + 3 * FIELD.itemsize].view(FIELD)
    names = [name.decode("latin1") for name in fields["name"]]
    kind = int(fields["kind"][0])
    if names != ["image", "y", "id"] or kind not in (RGB, NDARRAY):
        line = f"beton {str(path)!r} has fields {names}, expected image, y, id"
        raise DataError(advised("beton", line))
    start, form = HEADER.itemsize + fields.nbytes, _records(kind)
    records = content[start : start + count * form.itemsize].view(form)
    where = content[table : table + count * TABLE.itemsize].view(TABLE)
    where = where[np.argsort(where["example"])]
    if len(records) != count or (where["at"] + where["size"] > len(content)).any():
        raise ValueError("it points beyond its end")
    if kind == RGB:
        image = records["image"]
        heights, widths, modes = image["height"], image["width"], image["mode"]
        shapes = np.stack([heights, widths, np.full(count, 3)], axis=1).astype(np.int64)
    else:
        shape = fields["arguments"][0][:24].view("<u8").astype(np.int64)
        shapes, modes = np.broadcast_to(shape, (count, 3)), np.full(count, RAW, np.uint8)
    return Beton(
        path=path,
        y=records["y"].astype(np.int64),
        ids=records["id"].astype(np.int64),
        shapes=shapes,
        modes=modes,
        at=where["at"],
        sizes=where["size"],
        content=content,
    )
