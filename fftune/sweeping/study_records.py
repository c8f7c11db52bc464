"""JSON files of a study; what is wrong with one is reported in one line."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from fftune.config import Study, study_of
from fftune.errors import StudyError
from fftune.stored_file import read_object, reading

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


def read_record(path: Path, *keys: str) -> dict[str, Any]:
    """Read the JSON object in a file, and check that it has these keys.

    Raises:
        StudyError: the file is missing, damaged, or lacks a key.
    """
    data = read_object(path, "record", StudyError)
    for key in keys:
        if key not in data:
            raise StudyError(f"record {str(path)!r} is damaged: {key} is missing")
    return data


def read_as(path: Path, build: Callable[[dict[str, Any]], T]) -> T:
    """Read the JSON object in a file, and build a value from it.

    Raises:
        StudyError: the file is missing or damaged, or the object is not one that `build` takes.
    """
    data = read_record(path)
    with reading(path, "record", StudyError):
        return build(data)
