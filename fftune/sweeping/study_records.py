"""JSON files of a study; what is wrong with one is reported in one line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from fftune.config import Study, study_of
from fftune.errors import ConfigError, StudyError

T = TypeVar("T")


def read_study(folder: Path) -> Study:
    """Settings of the study in a folder, of any kind.

    Its name is the folder's: a study that is copied or renamed goes by its new one.

    Raises:
        StudyError: they cannot be read.
    """
    try:
        config = study_of((folder / "config.json").read_text(encoding="utf-8"))
        return replace(config, name=folder.name)
    except (ConfigError, OSError, UnicodeDecodeError) as error:
        what = f"study {folder.name!r} has settings that cannot be read"
        raise StudyError(f"{what}: {error}") from None


def read_record(path: Path, *keys: str) -> dict[str, Any]:
    """Read the JSON object in a file, and check that it has these keys.

    Raises:
        StudyError: the file is missing, damaged, or lacks a key.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise StudyError(f"{str(path)!r} cannot be read: {reason}") from None
    if not isinstance(data, dict):
        raise StudyError(f"{str(path)!r} must hold a JSON object, got {type(data).__name__}")
    for key in keys:
        if key not in data:
            raise StudyError(f"{str(path)!r} is damaged: {key} is missing")
    return data


def read_as(path: Path, build: Callable[[dict[str, Any]], T]) -> T:
    """Read the JSON object in a file, and build a value from it.

    Raises:
        StudyError: the file is missing or damaged, or the object is not one that `build` takes.
    """
    data = read_record(path)
    try:
        return build(data)
    except KeyError as error:
        raise StudyError(f"{str(path)!r} is damaged: {error.args[0]} is missing") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise StudyError(f"{str(path)!r} is damaged: {error}") from None
