"""JSON files of a study; what is wrong with one is reported in one line."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from fftune.config import Study, study_of
from fftune.errors import StudyError
from fftune.stored_file import damaged, read_object, reading

T = TypeVar("T")


def read_study(folder: Path) -> Study:
    """Settings of the study in a folder, of any kind.

    Its name is the folder's: a study that is copied or renamed goes by its new one.

    Raises:
        StudyError: they cannot be read.
    """
    path = folder / "config.json"
    with reading(path, "settings", StudyError):
        return replace(study_of(path.read_text(encoding="utf-8")), name=folder.name)


def read_record(path: Path, *keys: str, what: str) -> dict[str, Any]:
    """Read the JSON object in a file, and check that it has these keys.

    Args:
        what: kind of the file, one of `fftune.remedies.REMEDIES`.

    Raises:
        StudyError: the file is missing, damaged, or lacks a key.
    """
    data = read_object(path, what, StudyError)
    for key in keys:
        if key not in data:
            raise StudyError(damaged(what, path, f"{key} is missing"))
    return data


def read_as(path: Path, build: Callable[[dict[str, Any]], T], *, what: str) -> T:
    """Read the JSON object in a file, and build a value from it; `what` as in `read_record`.

    Raises:
        StudyError: the file is missing or damaged, or the object is not one that `build` takes.
    """
    data = read_object(path, what, StudyError)
    with reading(path, what, StudyError):
        return build(data)


def read_trial(path: Path, build: Callable[[dict[str, Any]], T]) -> T:
    """Read the record of how a trial ended; see `read_as`."""
    return read_as(path, build, what="record of a trial")
