"""The way in for files: what is no file is refused before it is opened."""

import os
from pathlib import Path

import pytest

from fftune.errors import StorageError
from fftune.stored_file import require_plain_file


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
