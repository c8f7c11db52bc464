"""WebDataset's tars, as its own writer lays them out."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fftune.config import DataSpec
from fftune.data import load
from fftune.data.catalog import open_parts
from fftune.errors import DataError


def picture(level: int, kind: str = "PNG", mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), level, np.uint8)).convert(mode).save(file, kind)
    return file.getvalue()


def pack(path: Path, members: Mapping[str, Any], mode: str = "w") -> Path:
    """Write a tar; texts, numbers and dicts become the bytes that WebDataset writes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, value in members.items():
            if isinstance(value, dict):
                value = json.dumps(value)
            content = value if isinstance(value, bytes) else str(value).encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def samples(first: int, labels: list[Any], ending: str = "cls") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for i, label in enumerate(labels, first):
        found |= {f"{i:05d}.png": picture(i), f"{i:05d}.{ending}": label}
    return found


def levels(name: str, split: str = "test") -> list[int]:
    return load(DataSpec(name=name), split).pixels[:, 0, 0, 0].tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ending", "labels", "classes"),
    [
        ("cls", [1, 0, 1], ("0", "1")),
        ("cls", ["dog\n", "cat", "dog"], ("cat", "dog")),
        ("cls.txt", [1, 0, 1], ("0", "1")),
        ("label", [1, 0, 1], ("0", "1")),
        ("txt", [1, 0, 1], ("0", "1")),
        ("json", [{"label": 1, "file": "x"}, {"label": 0}, {"label": 1}], ("0", "1")),
        ("cls", [30, 7, 30], ("7", "30")),
    ],
)
@pytest.mark.parametrize("packed", ["tar", "tar.gz", "tgz", "tar.xz"])
def test_samples_are_read(tmp_path: Path, ending: str, labels, classes, packed: str) -> None:
    mode = {"tar": "w", "tar.xz": "w:xz"}.get(packed, "w:gz")
    path = pack(tmp_path / f"set.{packed}", samples(0, labels, ending), mode)
    data = load(DataSpec(name=f"folder:{path}"), "test")
    assert data.source.classes == classes and data.y.tolist() == [1, 0, 1]
    assert data.pixels[:, 0, 0, 0].tolist() == [0, 1, 2]


def test_tars_of_a_folder_are_parts(tmp_path: Path) -> None:
    for shard in (10, 9, 0):
        pack(tmp_path / f"set/x-train-{shard:06d}.tar", samples(shard, [1, 2]))
    pack(tmp_path / "set/x-val-000000.tar", samples(3, [2]))
    (tmp_path / "set/sizes.json").write_text("{}")
    name = f"folder:{tmp_path}/set"
    parts = open_parts(name)
    assert parts["train"].y.tolist() == [0, 1] * 3 and parts["test"].y.tolist() == [1]
    assert levels(name, "train") == [0, 1, 9, 10, 10, 11] and levels(name) == [3]
    assert "1 other file is left out ('sizes.json')" in parts["train"].origin
    assert levels(f"{name}/x-train-{{000009..000010}}.tar") == [9, 10, 10, 11]
    assert levels(f"{name}/x-train-00000*.tar") == [0, 1, 9, 10]


def test_folders_in_a_tar_keep_samples_apart(tmp_path: Path) -> None:
    members = {"a/0.png": picture(5), "a/0.cls": 0, "b/0.png": picture(6), "b/0.cls": 1}
    assert levels(f"folder:{pack(tmp_path / 'set.tar', members)}") == [5, 6]


def test_incomplete_samples_are_counted(tmp_path: Path) -> None:
    members = samples(0, [0, 1]) | {"7.png": picture(7), "8.cls": 1, "._9.png": b"", "README": "x"}
    part = open_parts(f"folder:{pack(tmp_path / 'set.tar', members)}")["whole"]
    assert len(part) == 2
    assert "3 samples without an image or a label are left out" in part.origin


def test_what_is_the_image_or_the_label_can_be_said(tmp_path: Path) -> None:
    two = {"0.jpg": picture(3, "JPEG"), "0.png": picture(90), "0.cls": 1, "0.json": {"target": 7}}
    path = pack(tmp_path / "set.tar", two)
    with pytest.raises(DataError, match="which is the image. jpg, png; add ,image=NAME"):
        open_parts(f"folder:{path}")
    assert levels(f"folder:{path},image=png") == [90]
    part = open_parts(f"folder:{path},image=png,label=target")["whole"]
    assert part.source.classes == ("7",)
    masked = {"0.jpg": picture(3, "JPEG"), "0.mask.png": picture(90), "0.cls": 1}
    assert levels(f"folder:{pack(tmp_path / 'masked.tar', masked)}") == [3]


def test_grey_samples_stay_grey(tmp_path: Path) -> None:
    members = {"0.png": picture(3, mode="L"), "0.cls": 0}
    data = load(DataSpec(name=f"folder:{pack(tmp_path / 'set.tar', members)}"), "test")
    assert data.shape == (1, 4, 4)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"cat/0.png": b"x", "dog/1.png": b"y"}, "unpacked before, by `tar -xf`"),
        ({"0.cls": 1}, "no sample of an image and a label"),
        ({}, "no sample of an image and a label"),
        ({"0.png": b"no", "0.cls": 0}, r"set\.tar, 0\.png' cannot be decoded: not an image"),
        ({"0.png": b"x", "0.json": "{"}, r"tar .*set\.tar' is damaged"),
    ],
)
def test_a_tar_of_something_else_is_one_line(tmp_path: Path, members, message) -> None:
    path = pack(tmp_path / "set.tar", members)
    with pytest.raises(DataError, match=message) as caught:
        load(DataSpec(name=f"folder:{path}"), "test")
    assert "\n" not in str(caught.value)


def test_a_pickled_label_is_not_read(tmp_path: Path) -> None:
    path = pack(tmp_path / "set.tar", {"0.png": picture(1), "0.pyd": b"cos\nsystem\n(S'true'\ntR."})
    with pytest.raises(DataError, match="no sample of an image and a label"):
        open_parts(f"folder:{path}")


def test_a_tar_left_beside_what_it_held_is_not_read(tmp_path: Path, draw) -> None:
    for name in "ab":
        draw(f"set/{name}/0.png")
    pack(tmp_path / "set/original.tar", samples(0, [0, 1]))
    assert open_parts(f"folder:{tmp_path}/set")["whole"].source.classes == ("a", "b")


def test_a_cut_tar_is_one_line(tmp_path: Path) -> None:
    path = pack(tmp_path / "set.tar", samples(0, [0, 1, 0, 1]))
    path.write_bytes(path.read_bytes()[:2900])
    with pytest.raises(DataError, match=r"set\.tar"):
        load(DataSpec(name=f"folder:{path}"), "test")
