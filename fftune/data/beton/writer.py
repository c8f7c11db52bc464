"""Writing betons (FFCV files): every image is decoded once, the file is whole or not there."""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fftune.config import DataSpec, WriteConfig
from fftune.data.beton.format import JPG, RAW, VERSION, BetonWriter
from fftune.data.beton.manifest import SCHEMA, Made, Manifest, SplitRecord, write_manifest
from fftune.data.dataset import content_hash
from fftune.data.images import Central, Frame, Pixels, Shorter
from fftune.data.official_split import OfficialSplit
from fftune.data.prefetch import cores, prefetched
from fftune.data.splits import split_rows
from fftune.errors import DataError
from fftune.progress import Progress
from fftune.storage import sha256, write_whole

IMAGES_A_JOB = 64


@dataclass(frozen=True, slots=True)
class EncodedRecord:
    """An encoded image, or the reason why it cannot be encoded."""

    row: int
    pixels: Pixels | None
    content: bytes = b""
    mode: int = RAW
    converted: bool = False
    error: str = ""


def write_beton(
    part: OfficialSplit,
    path: Path,
    config: WriteConfig,
    *,
    origin: str,
    splits: dict[str, SplitRecord],
    made: Made | None = None,
) -> Manifest:
    """Write a part, and its manifest beside it.

    Raises:
        DataError: an image is bad (unless `config.skip_bad`), or all are.
        StorageError: the disk is full. Nothing is left behind.
    """
    config = replace(config, mode="raw") if part.name == "test" else config
    part = part.framed(frame_for(part, config))
    written = _Written(part)
    write_whole(path, lambda temporary: _fill(temporary, part, config, written))
    summary, size = sha256(path), path.stat().st_size
    manifest = Manifest(
        source=part.source,
        part=part.name,
        origin=origin,
        count=len(written.ids),
        per_class=tuple(np.bincount(written.y, minlength=len(part.source.classes)).tolist()),
        shape=written.shape,
        converted=written.converted,
        skipped=tuple(written.skipped),
        content=written.hash(),
        bytes=size,
        sha256=summary,
        beton_version=VERSION,
        ffcv=_release("ffcv"),
        fftune=_release("fftune") or "",
        write=config,
        splits=splits,
        made=made,
        schema=SCHEMA,
    )
    write_manifest(path, manifest)
    return manifest


def frame_for(part: OfficialSplit, config: WriteConfig) -> Frame | None:
    """Training photographs of mixed sizes keep their aspect; all others are cut alike."""
    if part.name != "test" and config.mixed_sizes:
        return Shorter(config.shorter_side) if config.shorter_side is not None else None
    return Central(config.image_size, config.image_resize) if config.image_size else None


def split_records(part: OfficialSplit, spec: DataSpec, *, selection: str) -> dict[str, SplitRecord]:
    """Select the examples of this part that train, select a model, and report it.

    With `selection="test"` the test set selects as well, which is optimistic.
    """
    if part.name == "test":
        roles = ("select", "report") if selection == "test" else ("report",)
        return dict.fromkeys(roles, _record(part, torch.arange(len(part)), 0))
    if part.name == "whole" and spec.train_size is None:
        return {}  # how it will be divided is not known yet
    rows = split_rows(part.y, spec, official_test=part.name == "train")
    roles_of = {"train": rows["train"], "select": rows["validation"], "report": rows.get("test")}
    if selection == "test":
        roles_of["select"] = roles_of["report"]
    return {
        role: _record(part, found, spec.split_seed)
        for role, found in roles_of.items()
        if found is not None and len(found)
    }


def _record(part: OfficialSplit, rows: torch.Tensor, seed: int) -> SplitRecord:
    ids = part.ids_of(rows.sort().values).numpy().astype("<i8")
    return SplitRecord(size=len(ids), seed=seed, ids=hashlib.sha256(ids.data).hexdigest()[:16])


class _Written:
    """Counts and hashes of the examples written so far."""

    def __init__(self, part: OfficialSplit) -> None:
        self.part = part
        self.ids: list[int] = []
        self.y: list[int] = []
        self.shapes: list[tuple[int, int, int]] = []
        self.skipped: list[str] = []
        self.converted = 0
        self.pixels = hashlib.sha256()

    def add(self, image: EncodedRecord, pixels: Pixels) -> None:
        height, width, channels = pixels.shape
        self.ids.append(int(self.part.ids_of(torch.tensor([image.row]))))
        self.y.append(int(self.part.y[image.row]))
        self.shapes.append((channels, height, width))
        self.converted += image.converted
        self.pixels.update(np.ascontiguousarray(pixels.transpose(2, 0, 1)).data)

    @property
    def shape(self) -> tuple[int, int, int] | None:
        kinds = set(self.shapes)
        return kinds.pop() if len(kinds) == 1 else None

    def hash(self) -> str:
        shapes, ids, y = (np.array(part, np.int64) for part in (self.shapes, self.ids, self.y))
        return content_hash(self.part.source.levels, shapes, ids, y, self.pixels.digest())


def _fill(path: Path, part: OfficialSplit, config: WriteConfig, written: _Written) -> None:
    grey = len(part.source.mean) == 1
    if grey and config.mode != "raw":
        raise DataError(f"write.mode: the images of {part.source.name!r} are grey, store them raw")
    with path.open("wb") as file:
        writer = BetonWriter(file, len(part), grey=grey, page=config.page_mib << 20)
        for image in _reported(part, _encoded(part, config)):
            if image.pixels is None:
                written.skipped.append(image.error)
                continue
            if part.name == "test" or not config.mixed_sizes:
                part.checked(image.pixels, image.row, writer.shape or image.pixels.shape)
            written.add(image, image.pixels)
            _append(writer, image, part, written)
        if not writer.count:
            raise DataError(f"{part.source.name!r} has no image that can be decoded")
        writer.finish()


def _append(
    writer: BetonWriter, image: EncodedRecord, part: OfficialSplit, written: _Written
) -> None:
    assert image.pixels is not None
    y, i = written.y[-1], written.ids[-1]
    try:
        writer.add(image.content, image.pixels.shape, y=y, i=i, mode=image.mode)
    except DataError as error:
        where = part.images.where(image.row)
        raise DataError(f"image {where!r} {error}; write.page_mib makes it larger") from None


def _encoded(part: OfficialSplit, config: WriteConfig) -> Iterator[EncodedRecord]:
    rows = range(len(part))
    jobs = (rows[begin : begin + IMAGES_A_JOB] for begin in rows[::IMAGES_A_JOB])

    def encode(job: range) -> list[EncodedRecord]:
        return [_encode(part, config, row) for row in job]

    return chain.from_iterable(prefetched(encode, jobs, threads=config.threads or cores()))


def _encode(part: OfficialSplit, config: WriteConfig, row: int) -> EncodedRecord:
    try:
        picture = part.images.read(row)
    except DataError as error:
        if not config.skip_bad:
            raise
        return EncodedRecord(row, None, error=str(error))
    pixels = np.ascontiguousarray(picture.pixels)
    if config.mode == "raw" or (config.mode == "mixed" and row % 2 == 0):
        return EncodedRecord(row, pixels, pixels.tobytes(), RAW, picture.converted)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=config.quality)
    return EncodedRecord(row, pixels, file.getvalue(), JPG, picture.converted)


def _reported(part: OfficialSplit, images: Iterator[EncodedRecord]) -> Iterator[EncodedRecord]:
    """Pass the images on, and report how many were."""
    with Progress(f"{part.source.name} {part.name}", unit="images", total=len(part)) as progress:
        for done, image in enumerate(images, 1):
            yield image
            progress.update(done)


def _release(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
