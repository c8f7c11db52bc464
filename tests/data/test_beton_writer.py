import errno
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fftune.config import WriteConfig
from fftune.data.beton.format import BetonWriter
from fftune.data.beton.reader import stored_part
from fftune.data.beton.writer import write_beton
from fftune.data.catalog import open_parts
from fftune.data.official_split import OfficialSplit
from fftune.errors import DataError, StorageError

Draw = Callable[..., Path]


@pytest.fixture
def part(tmp_path: Path, draw: Draw) -> OfficialSplit:
    """Two classes of two images each."""
    for name in "ab":
        for i in range(2):
            draw(f"set/train/{name}/{i}.png")
    return open_parts(f"folder:{tmp_path}/set")["train"]


def write(part: OfficialSplit, path: Path, **settings: object) -> None:
    write_beton(part, path, WriteConfig(**settings), origin="", splits={})  # type: ignore[arg-type]


def left(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "out").glob("*")]


def test_a_bad_image_stops_with_its_path_and_leaves_nothing(
    tmp_path: Path, part: OfficialSplit
) -> None:
    bad = tmp_path / "set/train/a/1.png"
    bad.write_bytes(bad.read_bytes()[:60])
    with pytest.raises(DataError, match=r"a/1\.png' cannot be decoded"):
        write(part, tmp_path / "out/train.beton")
    assert left(tmp_path) == []


def test_bad_images_can_be_skipped_and_are_listed(tmp_path: Path, part: OfficialSplit) -> None:
    (tmp_path / "set/train/a/1.png").write_bytes(b"")
    path = tmp_path / "out/train.beton"
    config = WriteConfig(skip_bad=True)
    manifest = write_beton(part, path, config, origin="", splits={})
    assert manifest.count == 3 and manifest.per_class == (1, 2)
    assert len(manifest.skipped) == 1 and "a/1.png" in manifest.skipped[0]
    stored = stored_part(path)
    assert stored.ids is not None and stored.ids.tolist() == [0, 2, 3]  # ids stay what they were
    assert np.array_equal(stored.images.read(1).pixels, part.images.read(2).pixels)


def test_a_set_of_bad_images_is_no_set(tmp_path: Path, part: OfficialSplit) -> None:
    for path in (tmp_path / "set").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="has no image that can be decoded"):
        write(part, tmp_path / "out/train.beton", skip_bad=True)


def test_mixed_sizes_are_refused_unless_they_are_wanted(
    tmp_path: Path, draw: Draw, part: OfficialSplit
) -> None:
    draw("set/train/b/1.png", size=(9, 5))
    with pytest.raises(DataError, match=r"b/1\.png' is 9 x 5, another of its set 6 x 5"):
        write(part, tmp_path / "out/train.beton")
    write(part, tmp_path / "out/train.beton", sizes="mixed")
    assert stored_part(tmp_path / "out/train.beton").images.read(3).pixels.shape == (5, 9, 3)


def test_the_shorter_side_is_resized_exactly(tmp_path: Path, draw: Draw) -> None:
    draw("big/train/a/0.png", size=(333, 500))
    part = open_parts(f"folder:{tmp_path}/big")["train"]
    write(part, tmp_path / "out/train.beton", shorter_side=160)
    assert stored_part(tmp_path / "out/train.beton").images.read(0).pixels.shape == (240, 160, 3)


def test_a_full_disk_is_said_and_nothing_is_left(
    tmp_path: Path, part: OfficialSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(BetonWriter, "finish", full)
    with pytest.raises(StorageError, match="the disk is full; nothing was left behind"):
        write(part, tmp_path / "out/train.beton")
    assert left(tmp_path) == []


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path, part: OfficialSplit) -> None:
    (tmp_path / "out").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match=r"cannot write .*train\.beton"):
        write(part, tmp_path / "out/train.beton")


def test_an_image_larger_than_a_page_is_named(tmp_path: Path, draw: Draw) -> None:
    draw("big/train/a/0.png", size=(900, 900))
    part = open_parts(f"folder:{tmp_path}/big")["train"]
    with pytest.raises(DataError, match=r"0\.png' takes 2,430,000 bytes, a page has 2,097,152"):
        write(part, tmp_path / "out/train.beton", page_mib=2)


def test_grey_images_are_not_stored_as_jpeg(tmp_path: Path) -> None:
    part = open_parts("synthetic:shape=1x8x8")["train"]
    with pytest.raises(DataError, match="grey, store them raw"):
        write(part, tmp_path / "out/train.beton", mode="jpg")


def test_a_finished_file_replaces_the_old_one(
    tmp_path: Path, part: OfficialSplit, draw: Draw
) -> None:
    path = tmp_path / "out/train.beton"
    write(part, path)
    before = path.read_bytes()
    draw("set/train/a/1.png").write_bytes(b"")
    with pytest.raises(DataError):
        write(part, path)
    assert path.read_bytes() == before
    stored_part(path)


def test_progress_says_how_far_it_is(
    tmp_path: Path, part: OfficialSplit, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        write(part, tmp_path / "out/train.beton")
    assert "set train: 0 of 4 images" in caplog.text


def test_ids_of_a_part_survive(tmp_path: Path, part: OfficialSplit) -> None:
    odd = torch.tensor([9, 4, 2, 7])
    write(replace(part, ids=odd), tmp_path / "out/train.beton")
    stored = stored_part(tmp_path / "out/train.beton")
    assert torch.equal(stored.read(torch.arange(4), "train").ids, odd)
