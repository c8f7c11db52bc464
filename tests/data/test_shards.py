"""Parquet and Arrow files as they are published: columns, parts, class names, grey images."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from fftune.config import DataSpec
from fftune.data import load, row_groups
from fftune.data.catalog import open_parts
from fftune.errors import DataError

Write = Callable[..., Path]


def picture(level: int, mode: str = "RGB") -> dict[str, Any]:
    """A struct as `datasets` stores it; the mean of the pixels tells which one it is."""
    file = io.BytesIO()
    Image.fromarray(np.full((4, 5, 3), level, np.uint8)).convert(mode).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(
        place: str,
        labels: Sequence[Any],
        *,
        image: str = "image",
        label: str = "label",
        mode: str = "RGB",
        names: Sequence[str] = (),
        first: int = 0,
        **others: Any,
    ) -> Path:
        pictures = [picture(first + i, mode) for i in range(len(labels))]
        table = pa.table({image: pictures, label: labels, **others})
        if names:
            features = {label: {"names": list(names), "_type": "ClassLabel"}}
            about = json.dumps({"info": {"features": features}})
            table = table.replace_schema_metadata({"huggingface": about})
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".arrow":
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as file:
                file.write_table(table, max_chunksize=3)
        else:
            pq.write_table(table, path, row_group_size=3)
        return path

    return written


def levels(name: str, split: str = "test") -> list[int]:
    return load(DataSpec(name=name), split).pixels[:, 0, 0, 0].tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize("image", ["image", "img", "Image", "jpg", "picture_of_it"])
@pytest.mark.parametrize("label", ["label", "fine_label", "Label", "target", "species"])
def test_columns_are_found_by_their_names(write: Write, image: str, label: str) -> None:
    path = write("set.parquet", [1, 0, 1], image=image, label=label)
    part = open_parts(f"folder:{path}")["whole"]
    assert part.y.tolist() == [1, 0, 1] and levels(f"folder:{path}") == [0, 1, 2]


def test_cifar100_is_read_by_its_fine_labels(write: Write) -> None:
    path = write("set.parquet", [3, 0], image="img", label="fine_label", coarse_label=[1, 0])
    part = open_parts(f"folder:{path}")["whole"]
    assert part.y.tolist() == [3, 0] and "labels 'fine_label', not 'coarse_label'" in part.origin
    other = open_parts(f"folder:{path},label=coarse_label")["whole"]
    assert other.y.tolist() == [1, 0] and other.source.name == "set"


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_images_stay_grey(write: Write, mode: str) -> None:
    path = write("mnist.parquet", [0, 1], mode=mode)
    part = open_parts(f"folder:{path}")["whole"]
    assert part.images.read(0).pixels.shape == (4, 5, 1) and part.source.mean == (0.5,)


def test_one_colour_image_makes_a_set_of_colour(tmp_path: Path) -> None:
    """Wherever it stands: none of 250 is overlooked."""
    pictures = [picture(i, "RGB" if i == 137 else "L") for i in range(250)]
    table = pa.table({"image": pictures, "label": [i % 2 for i in range(250)]})
    pq.write_table(table, tmp_path / "set.parquet", row_group_size=100)
    data = load(DataSpec(name=f"folder:{tmp_path}/set.parquet"), "test")
    assert data.shape == (3, 4, 5) and "249 grey images became colour" in data.origin


@pytest.mark.parametrize("folder", ["", "data/", "plain_text/"])
@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_shards_are_one_set_with_its_parts(
    write: Write, tmp_path: Path, folder: str, ending: str
) -> None:
    for shard in (0, 1):
        at, place = 10 * shard, f"set/{folder}train-{shard:05d}-of-00002.{ending}"
        write(place, [0, 1, 2, 0], names=("cat", "dog", "elk"), first=at)
    write(f"set/{folder}test-00000-of-00001.{ending}", [2, 2], names=("cat", "dog", "elk"))
    path = tmp_path / "set"
    (path / "README.md").write_text("about")
    parts = open_parts(f"folder:{path}")
    assert set(parts) == {"train", "test"} and parts["test"].source.classes == ("cat", "dog", "elk")
    assert parts["train"].y.tolist() == [0, 1, 2, 0] * 2 and parts["test"].y.tolist() == [2, 2]
    assert levels(f"folder:{path}", "train") == [0, 1, 2, 3, 10, 11, 12, 13]
    assert "1 other file is left out ('README.md')" in parts["train"].origin


def test_rows_are_in_the_order_of_numbers_in_names(write: Write) -> None:
    for shard in (10, 9, 1):
        write(f"set/part-{shard}.parquet", [0, 1], first=shard)
    path = write("set/part-2.parquet", [1, 0], first=2).parent
    assert levels(f"folder:{path}") == [1, 2, 2, 3, 9, 10, 10, 11]
    assert levels(f"folder:{path}/part-*.parquet") == [1, 2, 2, 3, 9, 10, 10, 11]
    assert levels(f"folder:{path}/part-{{9..10}}.parquet") == [9, 10, 10, 11]


def test_the_validation_part_is_tested_where_there_is_no_test_part(write: Write) -> None:
    write("set/train-0.parquet", [0, 1])
    path = write("set/validation-0.parquet", [1, 0], first=7).parent
    assert levels(f"folder:{path}") == [7, 8]
    write("set/test-0.parquet", [1, 0], first=3)
    assert levels(f"folder:{path}") == [3, 4]
    origin = open_parts(f"folder:{path}")["test"].origin
    assert "1 other file is left out ('validation-0.parquet')" in origin


def test_missing_shards_are_counted(write: Write) -> None:
    path = write("set/train-00001-of-00003.parquet", [0, 1]).parent
    assert "2 of 3 files are missing" in open_parts(f"folder:{path}")["train"].origin


def test_numbers_of_all_parts_are_read_together(write: Write) -> None:
    """A test part without the first class has the same numbers as the training part."""
    write("set/train-0.parquet", [1, 2, 3])
    path = write("set/test-0.parquet", [3, 2]).parent
    parts = open_parts(f"folder:{path}")
    assert parts["train"].y.tolist() == [0, 1, 2] and parts["test"].y.tolist() == [2, 1]


def test_images_may_be_files_beside_the_table(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/0.png").write_bytes(picture(9)["bytes"])
    rows = [{"bytes": None, "path": "images/0.png"}, picture(3)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(rows, kind), "label": [0, 1]})
    pq.write_table(table, tmp_path / "set.parquet")
    assert levels(f"folder:{tmp_path}/set.parquet") == [9, 3]
    (tmp_path / "images/0.png").unlink()
    with pytest.raises(DataError, match=r"image .*0\.png' cannot be read"):
        levels(f"folder:{tmp_path}/set.parquet")


def test_ids_and_hash_are_those_of_the_rows_however_they_are_stored(write: Write) -> None:
    labels = [0, 1, 1, 0, 1]
    paths = [write("one.parquet", labels), write("other/two.arrow", labels, image="img")]
    write("cut/a-0.parquet", labels[:2])
    paths.append(write("cut/a-1.parquet", labels[2:], first=2).parent)
    found = [load(DataSpec(name=f"folder:{path}"), "test") for path in paths]
    assert {data.hash() for data in found} == {found[0].hash()}
    assert all(torch.equal(data.ids, torch.arange(5)) for data in found)


def test_a_large_file_is_read_a_group_at_a_time(write: Write, monkeypatch) -> None:
    path = write("set.parquet", [0, 1] * 6)
    monkeypatch.setattr(row_groups, "HELD", 1)
    monkeypatch.setattr(row_groups, "_GROUPS", row_groups._Groups())
    assert levels(f"folder:{path}") == list(range(12))
    assert len(row_groups._GROUPS._kept) == 1


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": [1]}, "no column image, nor any that could be it"),
        ({"image": [b"x"]}, "no column label, nor any that could be it"),
        ({"a": [b"x"], "b": [b"y"], "label": [0]}, "which column is the image. a, b; add ,image="),
        ({"image": [b"x"], "genus": [0], "kind": [1]}, "which column is the label. genus, kind"),
        ({"image": [b"x"], "label": [None]}, "has no column label"),
        ({"image": [b"x"], "label": pa.array([None], pa.int64())}, "row 0 has no label"),
        ({"image": [b"x"], "label": [-1]}, "1 labels are -1"),
    ],
)
def test_a_table_that_is_none_of_images_is_one_line(tmp_path: Path, columns, message) -> None:
    pq.write_table(pa.table(columns), tmp_path / "set.parquet")
    with pytest.raises(DataError, match=message) as caught:
        open_parts(f"folder:{tmp_path}/set.parquet")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("label=labl", "has no label column 'labl'; did you mean 'label'?"),
        ("image=label", "has no image column 'label'"),
        ("classes=ten", "classes must be a whole number, got 'ten'"),
        ("classes=2", "label 2 is none of 2 classes"),
    ],
)
def test_a_wrong_setting_is_one_line(write: Write, setting: str, message: str) -> None:
    path = write("set.parquet", [0, 1, 2])
    with pytest.raises(DataError, match=message):
        open_parts(f"folder:{path},{setting}")


def test_several_sets_in_a_folder_are_told_apart(write: Write) -> None:
    write("set/fine/train-0.parquet", [0, 1])
    path = write("set/coarse/train-0.parquet", [0, 1]).parent.parent
    with pytest.raises(DataError, match="several data sets: name one of .*coarse' or .*fine'"):
        open_parts(f"folder:{path}")
    assert levels(f"folder:{path}/fine", "train") == [0, 1]


def test_a_table_beside_class_folders_is_no_data_set(tmp_path: Path, draw) -> None:
    for name in "ab":
        draw(f"set/{name}/0.png")
    pq.write_table(pa.table({"file": ["a/0.png"], "score": [1]}), tmp_path / "set/scores.parquet")
    part = open_parts(f"folder:{tmp_path}/set")["whole"]
    assert part.source.classes == ("a", "b") and "1 files that are no image" in part.origin
