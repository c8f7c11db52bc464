import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fftune.config import WriteConfig
from fftune.data.beton.format import FIELD, HEADER, BetonWriter, read_beton
from fftune.data.beton.manifest import manifest_path, read_manifest, verified, write_manifest
from fftune.data.beton.reader import stored_part
from fftune.data.beton.writer import write_beton
from fftune.data.catalog import open_parts
from fftune.data.conversion import stored_hash
from fftune.data.images import Array
from fftune.errors import DataError
from fftune.storage import sha256

Written = Callable[..., Path]
COLOUR = "synthetic:shape=3x8x6,classes=5,train=100,test=20,seed=1"
GREY = COLOUR.replace("3x8x6", "1x8x6")


@pytest.fixture
def beton(betons: Written) -> Path:
    return betons(COLOUR) / "train.beton"


@pytest.mark.parametrize("name", [COLOUR, GREY])
def test_what_is_read_is_what_was_written(betons: Written, name: str) -> None:
    folder = betons(name)
    for part, written in open_parts(name).items():
        stored = stored_part(folder / f"{part}.beton")
        rows = torch.arange(len(written))
        assert stored.source == written.source and stored.name == written.name
        assert stored.read(rows, "train").hash() == written.read(rows, "train").hash()
        assert read_manifest(folder / f"{part}.beton").content == stored_hash(stored)


def test_equal_sources_give_equal_bytes_for_any_number_of_threads(tmp_path: Path) -> None:
    part = open_parts(COLOUR)["train"]
    for threads in (1, 3):
        config = WriteConfig(threads=threads)
        write_beton(part, tmp_path / f"{threads}.beton", config, origin="", splits={})
    assert (tmp_path / "1.beton").read_bytes() == (tmp_path / "3.beton").read_bytes()


def test_a_sidecar_tells_everything(beton: Path) -> None:
    manifest = verified(beton)
    assert manifest.count == 100 and manifest.per_class == (20,) * 5
    assert manifest.shape == (3, 8, 6) and manifest.source.classes == tuple("01234")
    assert manifest.bytes == beton.stat().st_size and manifest.beton_version == 2
    assert manifest.origin == COLOUR and manifest.write == WriteConfig()


def test_a_set_larger_than_a_page_crosses_no_page(tmp_path: Path) -> None:
    part = open_parts("synthetic:shape=3x500x500,classes=2,train=7,test=2")["train"]
    write_beton(part, tmp_path / "a.beton", WriteConfig(page_mib=2), origin="", splits={})
    beton = read_beton(tmp_path / "a.beton")
    page = 2 << 20
    assert (beton.at // page == (beton.at + beton.sizes - 1) // page).all()
    assert len(np.unique(beton.at // page)) == 4
    assert np.array_equal(beton.pixels(6), part.images.read(6).pixels)


def test_a_jpeg_beton_is_near_and_says_what_it_is(tmp_path: Path) -> None:
    part = open_parts("synthetic:shape=3x32x32,classes=2,train=6,test=2")["train"]
    config = WriteConfig(mode="mixed", quality=95)
    write_beton(part, tmp_path / "a.beton", config, origin="", splits={})
    beton = read_beton(tmp_path / "a.beton")
    assert beton.modes.tolist() == [1, 0, 1, 0, 1, 0]
    for i in range(6):
        exact = np.array_equal(beton.pixels(i), part.images.read(i).pixels)
        assert exact == (i % 2 == 0)


def test_a_test_part_is_raw_whatever_was_asked(tmp_path: Path) -> None:
    part = open_parts(COLOUR)["test"]
    config = WriteConfig(mode="jpg")
    assert write_beton(part, tmp_path / "a.beton", config, origin="", splits={}).write.mode == "raw"


def cut(count: int) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, path.stat().st_size - count)


def flip(place: Callable[[Path], int]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        at = place(path)
        content = bytearray(path.read_bytes())
        content[at] ^= 0xFF
        path.write_bytes(content)

    return damage


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def with_sidecar(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = json.loads(manifest_path(path).read_text())
        change(content)
        manifest_path(path).write_text(json.dumps(content))

    return damage


def classes(count: int, per_class: list[int] | None = None) -> Callable[[dict[str, Any]], object]:
    """So many classes; the counts of each stay, unless others are given."""

    def change(content: dict[str, Any]) -> None:
        content["source"]["classes"] = [str(label) for label in range(count)]
        if per_class is not None:
            content["per_class"] = per_class

    return change


def of_another(path: Path) -> None:
    shutil.copy(manifest_path(path.with_name("test.beton")), manifest_path(path))


def record(path: Path) -> int:
    return HEADER.itemsize + 3 * FIELD.itemsize


DAMAGE: dict[str, Callable[[Path], object]] = {
    "8 bytes cut": cut(8),
    "100 bytes cut": cut(100),
    "1,000 bytes cut": cut(1000),
    "cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "100 bytes appended": lambda path: os.truncate(path, path.stat().st_size + 100),
    "header": flip(lambda _: 8),
    "version": flip(lambda _: 0),
    "field description": flip(lambda _: HEADER.itemsize + 1),
    "index": flip(lambda path: record(path) + 5),
    "label": flip(lambda path: record(path) + 16),
    "id": flip(lambda path: record(path) + 24),
    "first pixel": flip(lambda path: int(read_beton(path).at[0])),
    "last pixel": flip(lambda path: int(read_beton(path).at[-1] + read_beton(path).sizes[-1]) - 1),
    "table of places": flip(lambda path: path.stat().st_size - 20),
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a directory": as_folder,
    "missing": lambda path: path.unlink(),
    "manifest missing": lambda path: manifest_path(path).unlink(),
    "manifest empty": lambda path: manifest_path(path).write_text(""),
    "manifest cut": lambda path: os.truncate(manifest_path(path), 100),
    "manifest of another file": of_another,
    "manifest with an unknown key": with_sidecar(lambda content: content.update(colour="blue")),
    "manifest with another checksum": with_sidecar(lambda content: content.update(sha256="0" * 64)),
    "manifest with other counts": with_sidecar(lambda content: content.update(per_class=[100])),
    "manifest with counts in another order": with_sidecar(
        lambda content: content.update(per_class=[19, 21, 20, 20, 20])
    ),
    "manifest with another number of examples": with_sidecar(
        lambda content: content.update(count=99)
    ),
    "manifest with one class": with_sidecar(classes(1)),
    "manifest with a class fewer": with_sidecar(classes(4)),
    "manifest with a class more": with_sidecar(classes(6)),
    "manifest with a class fewer, and its counts": with_sidecar(classes(4, [20] * 4)),
    "manifest with one class, which all are of": with_sidecar(classes(1, [100])),
    "manifest of another part": with_sidecar(lambda content: content.update(part="all")),
    "manifest of a later release": with_sidecar(lambda content: content.update(schema=99)),
    "manifest of no release": with_sidecar(lambda content: content.update(schema=0)),
    "manifest of another format": with_sidecar(lambda content: content.update(beton_version=1)),
}


@pytest.mark.some(12)
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_an_error_and_never_a_wrong_pixel(
    beton: Path, damage: Callable[[Path], object]
) -> None:
    stored_part(beton)  # verified and remembered: the damage comes afterwards
    damage(beton)
    with pytest.raises(DataError) as caught:
        stored_part(beton)
    assert str(beton.parent) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("y", "ids", "message"),
    [
        ([0, 1, 5], [0, 1, 2], "5 classes, and labels from 0 to 5"),
        ([-1, 1, 2], [0, 1, 2], "5 classes, and labels from -1 to 2"),
        ([0, 1, 2], [0, 7, 7], "ids that are negative or stand twice"),
        ([0, 1, 2], [0, -7, 7], "ids that are negative or stand twice"),
        ([0, 1, 1], [0, 1, 2], "other counts of the classes"),
    ],
)
def test_a_file_that_belongs_to_another_set_is_told(
    tmp_path: Path, y: list[int], ids: list[int], message: str
) -> None:
    """Its checksum is right: it is whole, but not what the manifest says."""
    source = open_parts(COLOUR)["train"]
    path = tmp_path / "train.beton"
    with path.open("wb") as file:
        writer = BetonWriter(file, 3, grey=False)
        for label, i in zip(y, ids, strict=True):
            writer.add(bytes(144), (8, 6, 3), y=label, i=i, mode=1)
        writer.finish()
    few = replace(source, y=torch.arange(3), images=Array("few", np.zeros((3, 8, 6, 3), np.uint8)))
    manifest = write_beton(few, tmp_path / "few.beton", WriteConfig(), origin="", splits={})
    write_manifest(path, replace(manifest, bytes=path.stat().st_size, sha256=sha256(path)))
    with pytest.raises(DataError, match=f"does not hold what its manifest says: {message}"):
        stored_part(path)


def test_a_sidecar_of_the_release_before_is_read(beton: Path) -> None:
    """It says nothing of its versions, nor of a division."""
    content = json.loads(manifest_path(beton).read_text())
    del content["schema"], content["schema_version"], content["source"]["division"]
    manifest_path(beton).write_text(json.dumps(content))
    assert len(stored_part(beton)) == 100


def test_a_file_that_may_not_be_read_says_so(beton: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("fftune.data.beton.manifest.sha256", refused)
    with pytest.raises(DataError, match="Permission denied"):
        stored_part(beton)


def test_a_file_is_hashed_once_for_every_state_of_it(
    beton: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = []
    from fftune.storage import sha256

    def counted(path: Path) -> str:
        hashed.append(path)
        return sha256(path)

    monkeypatch.setattr("fftune.data.beton.manifest.sha256", counted)
    verified(beton)
    verified(beton)
    assert len(hashed) == 1
    os.utime(beton, ns=(0, 0))
    verified(beton)
    assert len(hashed) == 2
    verified(beton, again=True)
    assert len(hashed) == 3
