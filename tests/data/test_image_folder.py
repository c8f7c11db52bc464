"""Class folders as people have them, compared with torchvision's `ImageFolder`."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fftune.cli.data import main
from fftune.config import DataSpec
from fftune.data import load
from fftune.data.beton.manifest import manifest_path, read_manifest
from fftune.data.catalog import open_parts
from fftune.data.sources import folders

Draw = Callable[..., Path]


@pytest.fixture(autouse=True)
def _nothing_said_yet() -> None:
    folders._say_left_out.cache_clear()


ORDERS = {
    "numbers": [str(i) for i in range(12)],
    "10 and 9": ["9", "10"],
    "numbers at the end": ["v9", "v10", "ant"],
    "mixed case": ["bee", "Bee", "ant", "Zebra", "_z"],
    "unicode": ["zoo", "äpfel", "éclair", "ant", "日本", "Ωmega"],
    "padded and not": ["02", "1", "010", "2"],
}


@pytest.mark.parametrize("names", ORDERS.values(), ids=ORDERS.keys())
@pytest.mark.parametrize("parts", [("train", "test"), ("",)], ids=["parts", "plain"])
def test_classes_are_numbered_as_torchvision_numbers_them(
    tmp_path: Path, draw: Draw, names: list[str], parts: tuple[str, ...]
) -> None:
    """A net whose outputs follow ImageFolder is scored by its own classes."""
    from torchvision.datasets import ImageFolder

    for part in parts:
        for name in names:
            draw(f"set/{part}/{name}/0.png")
    for part, found in open_parts(f"folder:{tmp_path}/set").items():
        reference = ImageFolder(tmp_path / "set" / ("" if part == "whole" else part))
        assert list(found.source.classes) == reference.classes == sorted(names)
        assert found.y.tolist() == reference.targets
        assert [found.images.where(i) for i in range(len(found))] == [p for p, _ in reference.imgs]


@pytest.mark.parametrize("names", [["10", "9"], ["b", "A", "a"], ["v10", "v9", "ä"]])
def test_string_labels_of_parquet_are_numbered_alike(
    tmp_path: Path, draw: Draw, names: list[str]
) -> None:
    images = [draw(f"{i}.png").read_bytes() for i in range(len(names))]
    pq.write_table(pa.table({"image": images, "label": names}), tmp_path / "set.parquet")
    part = open_parts(f"folder:{tmp_path}/set.parquet")["whole"]
    assert list(part.source.classes) == sorted(names)
    assert [part.source.classes[label] for label in part.y] == names


def test_numbers_in_parquet_stay_the_numbers_that_they_are(tmp_path: Path, draw: Draw) -> None:
    labels = [10, 2, 0]
    images = [draw(f"{i}.png").read_bytes() for i in labels]
    pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / "set.parquet")
    part = open_parts(f"folder:{tmp_path}/set.parquet")["whole"]
    assert part.y.tolist() == labels and part.source.classes == tuple(map(str, range(11)))


def test_betons_keep_the_order_that_they_were_written_with(tmp_path: Path, draw: Draw) -> None:
    for name in ("9", "10"):
        draw(f"set/train/{name}/0.png")
    main(["write", f"folder:{tmp_path}/set"])
    path = tmp_path / "datasets/set/train.beton"
    assert read_manifest(path).source.classes == ("10", "9")
    text = manifest_path(path).read_text()  # as a release that sorted by number would have it
    manifest_path(path).write_text(text.replace('"10",\n      "9"', '"9",\n      "10"'))
    assert load(DataSpec(name="set"), "train").source.classes == ("9", "10")


def test_images_of_all_depths_are_read(tmp_path: Path, draw: Draw) -> None:
    """Beside loose files, below `images`, two levels down, and through a link."""
    from torchvision.datasets import ImageFolder

    for place in ("0.png", "images/1.png", "sub/2.png", "sub/deeper/3.png"):
        draw(f"set/a/{place}")
    draw("elsewhere/4.png")
    (tmp_path / "set/a/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set/a/sub/circle").symlink_to(tmp_path / "set/a")
    draw("set/b/only/here/0.png")
    part = open_parts(f"folder:{tmp_path}/set")["whole"]
    found = {Path(part.images.where(i)).name for i in range(5)}
    assert part.y.tolist() == [0] * 5 + [1] and found == {f"{i}.png" for i in range(5)}
    (tmp_path / "set/a/sub/circle").unlink()  # which torchvision would follow for ever
    assert len(ImageFolder(tmp_path / "set").imgs) == len(part)
    assert load(DataSpec(name=f"folder:{tmp_path}/set"), "test").y.tolist() == part.y.tolist()


def test_what_pillow_opens_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    folder = tmp_path / "set/a"
    folder.mkdir(parents=True)
    image = Image.fromarray(np.full((4, 4, 3), 200, np.uint8))
    kinds = {
        "gif": "GIF",
        "jfif": "JPEG",
        "JPEG": "JPEG",
        "PNG": "PNG",
        "tga": "TGA",
        "jpe": "JPEG",
    }
    kinds |= {"apng": "PNG", "ico": "ICO", "jp2": "JPEG2000", "WebP": "WEBP", "Tif": "TIFF"}
    for suffix, kind in kinds.items():
        image.save(folder / f"{suffix}.{suffix}", kind)
    part = open_parts(f"folder:{tmp_path}/set")["whole"]
    assert len(part) == len(kinds)
    data = load(DataSpec(name=f"folder:{tmp_path}/set"), "test")
    assert (data.pixels.float() - 200).abs().max() <= 3


def test_what_is_left_out_is_counted_and_told_once(
    tmp_path: Path, draw: Draw, caplog: pytest.LogCaptureFixture
) -> None:
    for place in ("a/0.png", "a/.1.png", "b/0.png", ".hidden/0.png", "loose.png"):
        draw(f"set/train/{place}")
    (tmp_path / "set/train/a/notes.txt").write_text("no image")
    (tmp_path / "set/train/b/deep").mkdir()
    (tmp_path / "set/train/b/deep/noending").write_text("no image")
    for _ in range(3):
        open_parts(f"folder:{tmp_path}/set")
    root = f"{tmp_path}/set/train"
    told = f"{root}: 5 files that are no image of a class are left out, the first "
    assert [record.message for record in caplog.records] == [f"{told}'{root}/.hidden'"]
    assert caplog.records[0].levelno == logging.WARNING


def test_folders_beside_the_official_parts_are_told(
    tmp_path: Path, draw: Draw, caplog: pytest.LogCaptureFixture
) -> None:
    """`val` beside `test`, and a class that is called `train`."""
    for part in ("train", "test", "val", "extra"):
        draw(f"set/{part}/a/0.png")
    open_parts(f"folder:{tmp_path}/set")
    assert "2 folders beside the official parts are left out, the first 'extra'" in caplog.text


def test_tiny_imagenet_is_told_of_strangers_alone(
    tmp_path: Path, draw: Draw, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own text files, which everybody has, are no news."""
    draw("set/train/n1/images/n1_0.png")
    (tmp_path / "set/train/n1/n1_boxes.txt").write_text("n1_0.png\t0\t0\t1\t1\n")
    draw("set/val/images/val_0.png")
    (tmp_path / "set/val/val_annotations.txt").write_text("val_0.png\tn1\t0\t0\t1\t1\n")
    open_parts("tiny-imagenet", tmp_path / "set")
    assert caplog.text == ""
    draw("set/val/images/val_1.png")
    folders._say_left_out.cache_clear()
    open_parts("tiny-imagenet", tmp_path / "set")
    assert "1 files" in caplog.text and "val_1.png" in caplog.text


def test_ids_follow_the_numbers_in_names(tmp_path: Path, draw: Draw) -> None:
    """As in the archives of CIFAR: image 9 before image 10, whatever the text says."""
    for name in ("10", "9", "sub/1"):
        draw(f"set/a/{name}.png")
    part = open_parts(f"folder:{tmp_path}/set")["whole"]
    assert [Path(part.images.where(i)).stem for i in range(3)] == ["9", "10", "1"]
