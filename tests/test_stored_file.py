"""The way in for files: what is no file is refused before it is opened."""

import os
from pathlib import Path

import pytest

from fftune.errors import DataError, StorageError, StudyError
from fftune.remedies import REMEDIES
from fftune.stored_file import (
    damaged,
    other_advice,
    read_object,
    read_toml,
    reading,
    require_plain_file,
)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, what in (
        (tmp_path, "is a folder"),
        (tmp_path / "pipe", "is a pipe"),
        (Path("/dev/null"), "is a device"),
        (tmp_path / "a\0b", "is no path"),
    ):
        with pytest.raises(StorageError, match=what):
            require_plain_file(path)
    require_plain_file(tmp_path / "missing")


@pytest.mark.parametrize(
    ("content", "reason"),
    [("", "it is empty"), ("{", "Expecting"), ("[]", "must hold a JSON object"), ("\xff", "utf-8")],
)
def test_a_damaged_file_is_said_with_what_to_do(content: str, reason: str, tmp_path: Path) -> None:
    """Which file, what is wrong with it, and what next: once, however many doors it is behind."""
    path = tmp_path / "search.json"
    path.write_bytes(content.encode("latin-1"))
    for what in filter(None, REMEDIES):
        with (
            pytest.raises(StudyError, match=reason) as told,
            reading(path, what, StudyError),
            reading(path, what, DataError),
        ):
            read_object(path, what, StudyError)
        line = str(told.value)
        assert line.startswith(f"{what} {str(path)!r}")
        remedy = REMEDIES[what]
        assert line.count(remedy) == 1 and line.endswith(f"; {remedy}") if remedy else True


def test_a_file_that_is_closed_or_missing_is_not_to_be_deleted(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"cannot be read: No such file or directory$"):
        read_object(tmp_path / "front.json", "front", StudyError)
    with (
        pytest.raises(StorageError, match=r"cannot be read: Permission denied$"),
        reading(tmp_path / "front.json", "front"),
    ):
        raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize(
    ("content", "reason"), [("\n", "it is empty"), ("a", "is not TOML: .*end")]
)
def test_a_file_of_settings_without_any_is_refused(content: str, reason: str, tmp_path) -> None:
    (tmp_path / "a.toml").write_text(content)
    with pytest.raises(StorageError, match=f"zoo .*a.toml' .*{reason}.*; docs/"):
        read_toml(tmp_path / "a.toml", "zoo")


def test_others_who_know_more_say_something_else() -> None:
    line = damaged("outcomes", "rows.parquet", "it was cut")
    assert line.endswith(REMEDIES["outcomes"])
    assert other_advice(line, "outcomes", "delete 'x'") == (
        "outcomes 'rows.parquet' is damaged: it was cut; delete 'x'"
    )
