"""Optuna's journal file of a study: whole records after a full disk, a crash, or a kill."""

import json
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend

from fftune.errors import StorageError
from fftune.storage import storing, write_text, write_whole
from fftune.stored_file import damaged, reading

log = logging.getLogger(__name__)

LOCK = ".lock"
"""Ending of the name of a journal's lock: a link that a killed process leaves."""


class Journal(JournalFileBackend):
    """Journal to which records are added whole or not at all."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            StorageError: it cannot be made.
        """
        self.path = path
        if not path.exists():
            write_text(path, "")  # for good, as a file's name is not by Optuna
        super().__init__(str(path))

    def append_logs(self, logs: Sequence[dict[str, Any]]) -> None:
        """Add records.

        Raises:
            StorageError: the disk is full or fails; the journal is as it was.
        """
        text = "".join(json.dumps(one, separators=(",", ":")) + "\n" for one in logs)
        with storing(self.path):
            self._lock.acquire()
            try:
                self._append(text.encode())
            finally:
                self._release()

    def _append(self, content: bytes) -> None:
        with open(self.path, "ab", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            try:
                while content:
                    content = content[file.write(content) :]
                os.fsync(file.fileno())
            except BaseException:  # an interruption may have cut it as well
                with suppress(OSError):
                    os.ftruncate(file.fileno(), size)
                raise

    def _release(self) -> None:
        try:
            self._lock.release()
        except RuntimeError as error:  # says that it was not held, whatever happened
            raise error.__context__ or error from None


def free_journal(path: Path) -> None:
    """Delete the lock that a killed driver left; only where no other driver can be at work.

    Optuna itself would wait for half a minute before it takes it.
    """
    with storing(path):
        for left in path.parent.glob(f"{path.name}{LOCK}*"):
            left.unlink(missing_ok=True)


def mend_journal(path: Path) -> None:
    """Cut a journal back to its last whole record, where a crash left half of one, or NULs.

    Raises:
        StorageError: a record in the middle is damaged; later ones may depend on it.
    """
    if not path.exists():
        return
    with reading(path, "journal"):
        content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    whole = [_is_record(line) for line in lines]
    kept = len(lines)
    while kept and not whole[kept - 1]:
        kept -= 1
    for at in range(kept):
        if not whole[at] and lines[at].strip(b"\0\r\n "):
            raise StorageError(damaged("journal", path, f"line {at + 1} is no record"))
    mended = b"".join(line for line, good in zip(lines[:kept], whole, strict=False) if good)
    lost = len(content) - len(mended)
    if kept and not mended.endswith(b"\n"):
        mended += b"\n"
    if mended != content:
        write_whole(path, lambda part: part.write_bytes(mended))
    if lost:
        log.warning("journal %s ended in half a record; %d bytes were cut off", path, lost)
    elif mended != content:
        log.info("journal %s lacked only its last newline, which was added", path)


def _is_record(line: bytes) -> bool:
    """Tell if a line of a journal is a whole record of Optuna's."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and "op_code" in record
