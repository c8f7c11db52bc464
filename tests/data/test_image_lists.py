"""`metadata.csv` and `metadata.jsonl` beside images, as `datasets` has them; lists by name."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fftune.config import DataSpec
from fftune.data import load
from fftune.data.catalog import open_parts
from fftune.errors import DataError

Rows = Sequence[Mapping[str, Any]]


def pictures(root: Path, names: Sequence[str]) -> None:
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), (i * 20, 9, 9), np.uint8)).save(root / name)


def written(path: Path, rows: Rows, separator: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        lines = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
        path.write_text("\n".join(map(separator.join, lines)) + "\n")
    return path


def listed(names: Sequence[str], labels: Sequence[Any], column: str = "label") -> Rows:
    return [{"file_name": n, column: label} for n, label in zip(names, labels, strict=True)]


FOUR = ["b.png", "a.png", "d.png", "c.png"]


@pytest.mark.parametrize("file", ["metadata.csv", "metadata.jsonl"])
@pytest.mark.parametrize(
    ("labels", "classes", "y"),
    [
        (["dog", "cat", "dog", "ant"], ("ant", "cat", "dog"), [2, 1, 2, 0]),
        ([0, 1, 0, 3], ("0", "1", "2", "3"), [0, 1, 0, 3]),
        ([1, 2, 1, 3], ("1", "2", "3"), [0, 1, 0, 2]),
        ([7, 107, 7, 100_000], ("7", "107", "100000"), [0, 1, 0, 2]),
    ],
)
def test_rows_are_in_the_order_of_the_list(
    tmp_path: Path, file: str, labels: list[Any], classes: tuple[str, ...], y: list[int]
) -> None:
    pictures(tmp_path, FOUR)
    written(tmp_path / file, listed(FOUR, labels))
    data = load(DataSpec(name=f"folder:{tmp_path}"), "test")
    assert data.source.classes == classes and data.y.tolist() == y
    assert data.pixels[:, 0, 0, 0].tolist() == [0, 20, 40, 60]


def test_numbers_in_csv_are_numbers_only_where_all_are(tmp_path: Path) -> None:
    pictures(tmp_path, FOUR)
    written(tmp_path / "metadata.csv", listed(FOUR, ["10", "9", "9.0", "10"]))
    assert open_parts(f"folder:{tmp_path}")["whole"].source.classes == ("9", "10")
    written(tmp_path / "metadata.csv", listed(FOUR, ["10", "9", "9", "x"]))
    assert open_parts(f"folder:{tmp_path}")["whole"].source.classes == ("10", "9", "x")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_what_separates_is_seen_and_a_mark_of_order_is_no_name(
    tmp_path: Path, separator: str
) -> None:
    pictures(tmp_path, FOUR)
    path = written(tmp_path / "metadata.csv", listed(FOUR, "abab"), separator)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert open_parts(f"folder:{tmp_path}")["whole"].y.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("above", [True, False])
def test_parts_are_folders_with_a_list_each_or_one_above(tmp_path: Path, above: bool) -> None:
    names = ["train/x/0.png", "train/1.png", "validation/0.png", "test/0.png"]
    pictures(tmp_path, names)
    if above:
        written(tmp_path / "metadata.jsonl", listed(names, "abab"))
    else:
        written(tmp_path / "train/metadata.csv", listed(["x/0.png", "1.png"], "ab"))
        written(tmp_path / "validation/metadata.csv", listed(["0.png"], "a"))
        written(tmp_path / "test/metadata.csv", listed(["0.png"], "b"))
    parts = open_parts(f"folder:{tmp_path}")
    assert {name: part.y.tolist() for name, part in parts.items()} == {"train": [0, 1], "test": [1]}
    assert parts["test"].images.where(0) == str(tmp_path / "test/0.png")
    assert "1 other file is left out ('validation/0.png')" in parts["test"].origin


def test_lists_below_each_other_are_one_set(tmp_path: Path) -> None:
    for place in ("old", "new/deep"):
        pictures(tmp_path / place, ["0.png"])
        written(tmp_path / place / "metadata.csv", listed(["0.png"], place[0]))
    part = open_parts(f"folder:{tmp_path}")["whole"]
    assert part.source.classes == ("n", "o") and part.y.tolist() == [0, 1]
    assert part.origin.startswith("2 lists, as ")


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    pictures(tmp_path, [*FOUR, "alone.png"])
    rows = [*listed(FOUR, ["a", "b", "", "a"]), {"file_name": "gone.png", "label": "a"}]
    written(tmp_path / "metadata.csv", rows)
    part = open_parts(f"folder:{tmp_path}")["whole"]
    assert part.y.tolist() == [0, 1, 0]
    assert "of listed images 1 missing and 1 without a label are left out" in part.origin
    assert "2 other files are left out ('alone.png')" in part.origin


def test_any_list_by_its_name_with_its_columns(tmp_path: Path) -> None:
    pictures(tmp_path, FOUR)
    rows = [{"where": n, "kind": k, "by": "me"} for n, k in zip(FOUR, "xyxy", strict=True)]
    path = written(tmp_path / "mine.csv", rows)
    part = open_parts(f"folder:{path},image=where,label=kind")["whole"]
    assert part.source.classes == ("x", "y") and part.source.name == "mine"


def test_class_folders_with_captions_are_class_folders(tmp_path: Path) -> None:
    names = [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(2)]
    pictures(tmp_path, names)
    path = written(tmp_path / "metadata.csv", listed(names, "abcd", "text"))
    assert open_parts(f"folder:{tmp_path}")["whole"].source.classes == ("cat", "dog")
    written(path, listed(names, "abab"))
    assert open_parts(f"folder:{tmp_path}")["whole"].source.classes == ("a", "b")


@pytest.mark.parametrize("where", ["flat", "images"])
def test_a_single_column_is_the_label_whatever_its_name(tmp_path: Path, where: str) -> None:
    names = [name if where == "flat" else f"images/{name}" for name in FOUR]
    pictures(tmp_path, names)
    written(tmp_path / "metadata.jsonl", listed(names, "abab", "species"))
    assert open_parts(f"folder:{tmp_path}")["whole"].source.classes == ("a", "b")


WRONG = {
    "outside": (listed(["../a.png"], "a"), "'../a.png' is outside its folder"),
    "absolute": (listed(["/etc/x.png"], "a"), "'/etc/x.png' is outside its folder"),
    "twice": (listed(["a.png", "./a.png"], "ab"), "names './a.png' again"),
    "all gone": (listed(["x.png", "y.png"], "ab"), "of 2 images none is there with a label"),
    "no name": (listed(["a.png", ""], "ab"), "row 2: file_name must be the name of a file"),
    "several": (
        [{"file_name": "a.png", "size": 1, "maker": "x"}],
        "which column is the label\\? size, maker; add ,label=NAME",
    ),
    "too long": ([{"file_name": "a.png", "label": "a,b"}], "row 1 has more values"),
    "a list of labels": (listed(["a.png"], [[1, 2]]), "must be a class name or a whole number"),
    "two kinds": (listed(["a.png", "b.png"], [1, "x"]), "numbers in some rows and names in others"),
    "strange": (listed(["train/a.png", "test/a.png"], "ab"), "no class 'b' in training"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_list_is_one_line(tmp_path: Path, case: str) -> None:
    rows, said = WRONG[case]
    pictures(tmp_path, [*FOUR, "train/a.png", "test/a.png"])
    json_only = case in ("a list of labels", "two kinds")
    written(tmp_path / f"metadata.{'jsonl' if json_only else 'csv'}", rows)
    with pytest.raises(DataError, match=said) as caught:
        open_parts(f"folder:{tmp_path}")
    assert "\n" not in str(caught.value)
