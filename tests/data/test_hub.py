"""`hf:OWNER/NAME`: data sets of the Hugging Face hub as its library leaves them in its cache."""

import io
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fftune.config import DataSpec
from fftune.config.data import data_name
from fftune.data import load
from fftune.data.catalog import open_parts
from fftune.data.data_form import file_name_of
from fftune.errors import DataError
from fftune.names import is_plain

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def encoded(level: int) -> dict[str, object]:
    file = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), level, np.uint8)).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def cached(
    cache: Path, repository: str, files: list[str], *, commit: str = COMMIT, ref: str = "main"
) -> None:
    """Lay files as the hub does: contents in `blobs`, links in `snapshots`, commits in `refs`."""
    root = cache / f"datasets--{repository.replace('/', '--')}"
    for place in ("blobs", "refs", f"snapshots/{commit}"):
        (root / place).mkdir(parents=True, exist_ok=True)
    (root / "refs" / ref).write_text(commit)
    for number, file in enumerate(["README.md", *files]):
        blob, link = root / f"blobs/{commit[:4]}{number}", root / f"snapshots/{commit}" / file
        if number:
            pixels = [encoded(40 * number + i) for i in range(4)]
            pq.write_table(pa.table({"image": pixels, "label": [0, 1, 1, 0]}), blob)
        else:
            blob.write_text("about")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))


TWO = ["data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"]


@pytest.mark.parametrize("repository", ["owner/a.set-1", "mnist"])
def test_it_is_read_where_the_hub_has_put_it(cache: Path, repository: str) -> None:
    cached(cache, repository, TWO)
    data = load(DataSpec(name=f"hf:{repository}"), "test")
    assert data.source.name == repository.split("/")[-1]
    assert data.y.tolist() == [0, 1, 1, 0] and data.pixels[:, 0, 0, 0].tolist() == [80, 81, 82, 83]
    assert "1 other file is left out ('README.md')" in data.origin


def test_a_revision_is_a_branch_a_tag_or_a_commit(cache: Path) -> None:
    other = "f" * 40
    cached(cache, "o/n", TWO)
    cached(cache, "o/n", TWO[1:], commit=other, ref="v2")
    assert set(open_parts("hf:o/n")) == {"train", "test"}
    for revision in ("v2", other, other[:8]):
        assert open_parts(f"hf:o/n@{revision}").keys() == {"test"}


def test_one_of_several_sets_is_its_folder_and_columns_are_named(cache: Path) -> None:
    cached(cache, "o/n", [f"{name}/test-00000-of-00001.parquet" for name in ("big", "small")])
    with pytest.raises(DataError, match="holds several data sets: name one of"):
        open_parts("hf:o/n")
    assert open_parts("hf:o/n/small,label=label,classes=3")["test"].source.classes == tuple("012")


MISSING = {
    "hf:o/n": "fetch it by: hf download --repo-type dataset o/n$",
    "hf:o/n@v1": "fetch it by: hf download --repo-type dataset o/n --revision v1$",
    "hf:o/n/part": "fetch it by: hf download --repo-type dataset o/n$",
    "hf:": "must have a path behind it",
    "hf:../../etc": "must be hf:OWNER/NAME",
    "hf:o/n/a/../../../..": "must be hf:OWNER/NAME",
    "hf:o/n@../x": "must be hf:OWNER/NAME",
}


@pytest.mark.parametrize("name", MISSING)
def test_what_is_not_there_names_the_command_that_fetches_it(cache: Path, name: str) -> None:
    with pytest.raises(DataError, match=MISSING[name]) as caught:
        open_parts(name)
    assert "\n" not in str(caught.value)


def test_its_name_is_no_path_and_gives_names_of_files() -> None:
    assert data_name("hf:o/n") == "hf:o/n" and data_name("o/n") == "folder:o/n"
    assert [file_name_of(name) for name in ("hf:o/n", "folder:a/n", "digits")] == [
        "n",
        "n",
        "digits",
    ]
    assert is_plain(file_name_of("hf:o/n@v1"))
