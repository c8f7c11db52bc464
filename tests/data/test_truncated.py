"""Half an image, in a process where somebody has told PIL not to mind."""

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageFile

from fftune.config import DataSpec, LoaderConfig
from fftune.data import load, open_loader
from fftune.data.beton.format import JPG, BetonWriter, read_beton
from fftune.data.catalog import open_parts
from fftune.data.images import decode
from fftune.errors import DataError

KINDS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif"}


@pytest.fixture(autouse=True)
def lenient() -> Iterator[None]:
    """As a user's file may do when it is imported."""
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    yield
    ImageFile.LOAD_TRUNCATED_IMAGES = False


def half(kind: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()[: len(file.getvalue()) // 2]


@pytest.mark.parametrize("kind", KINDS)
def test_half_an_image_is_refused_from_a_folder(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"set/a/0.{KINDS[kind]}"
    path.parent.mkdir(parents=True)
    path.write_bytes(half(kind))
    with pytest.raises(DataError, match=r"/a/0\..* cannot be decoded"):
        load(DataSpec(name=f"folder:{tmp_path}/set"), "test")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_half_an_image_is_refused_from_parquet(tmp_path: Path, kind: str) -> None:
    table = pa.table({"image": [half(kind)], "label": ["a"]})
    pq.write_table(table, tmp_path / "set.parquet")
    part = open_parts(f"folder:{tmp_path}/set.parquet")["whole"]
    with pytest.raises(DataError, match="row 0' cannot be decoded"):
        part.images.read(0)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_half_an_image_is_refused_by_a_worker(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"set/train/a/0.{KINDS[kind]}"
    path.parent.mkdir(parents=True)
    path.write_bytes(half(kind))
    spec = DataSpec(name=f"folder:{tmp_path}/set")
    loader = open_loader(spec, "train", LoaderConfig(engine="torch", workers=1))
    with pytest.raises(DataError, match="cannot be decoded"):
        list(loader.epoch(0))


def test_half_an_image_is_refused_from_a_beton(tmp_path: Path) -> None:
    """As FFCV itself, or another writer, may have left it."""
    with (tmp_path / "a.beton").open("wb") as file:
        writer = BetonWriter(file, 1, grey=False)
        writer.add(half("JPEG"), (64, 64, 3), y=0, i=0, mode=JPG)
        writer.finish()
    with pytest.raises(DataError, match=r"a\.beton', example 0, cannot be decoded"):
        read_beton(tmp_path / "a.beton").pixels(0)


def test_threads_that_decode_at_once_refuse_it_all() -> None:
    """None gives the switch back while another one decodes."""
    content, refused = half("JPEG"), []

    def read() -> None:
        for _ in range(50):
            try:
                decode(io.BytesIO(content), 3, "here", None)
            except DataError:
                refused.append(1)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 200
