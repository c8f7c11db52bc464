"""Last words of a worker of a distributed training, in the run's folder: `failed.json`."""

import json
from pathlib import Path

from fftune.errors import FftuneError, packed, unpacked
from fftune.storage import in_turn, write_text
from fftune.stored_file import read_json, reading

FAILED = "failed.json"
"""File for an error that replacing the worker would not mend."""


def left(folder: Path) -> FftuneError | None:
    """The error that a worker left, or None.

    Raises:
        StorageError: the file is damaged.
    """
    path = folder / FAILED
    if not path.exists():
        return None
    with reading(path, "a worker's last words"):
        return unpacked(**read_json(path, "a worker's last words"))


def leave(error: FftuneError, folder: Path) -> None:
    """Leave for the driver, and for the next attempt, why a worker failed, unless one has."""
    with in_turn(folder / FAILED):
        if not (folder / FAILED).exists():  # what others say later may be but a consequence
            write_text(folder / FAILED, json.dumps(packed(error)) + "\n")
