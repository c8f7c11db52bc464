"""The storage folder of results: its layout, files written atomically, and locks.

<root>/studies/<name>/{config.json, trials/<n>/..., front.json, report.html}
<root>/mlflow.db, <root>/mlflow/         the MLflow store, unless MLFLOW_TRACKING_URI names another
<root>/mlflow-unsent/                    calls that an MLflow server has not taken yet
<root>/storage-id                        id by which the runs of this storage are known on a server
<root>/crafted/                          perturbed examples that hedge sweeps share
<root>/reports/                          comparisons of several studies
"""

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from fftune.errors import StorageError, StudyError

DEFAULT_ROOT = Path("~/.local/share/fftune")


def storage_root(given: str | None = None) -> Path:
    """Absolute path of the storage folder: `given`, `FFTUNE_STORAGE`, or one in the user's home.

    Raises:
        StorageError: a folder that was named does not exist or cannot be written.
    """
    named = given or os.environ.get("FFTUNE_STORAGE")
    if named and "://" in named:
        raise StorageError(
            f"storage {named!r} is not a folder on this machine; remote storage must be mounted"
        )
    root = Path(named or DEFAULT_ROOT).expanduser().absolute()
    if not named:
        root.mkdir(parents=True, exist_ok=True)
    if not root.is_dir():
        raise StorageError(f"storage {str(root)!r} does not exist; make it, or name another")
    if not os.access(root, os.W_OK | os.X_OK):
        raise StorageError(f"storage {str(root)!r} cannot be written")
    return root


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file atomically: readers see the old file or the new one, never a part of it.

    Args:
        write: fills the temporary file beside `path` that it is given, which is then renamed.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    try:
        _write_whole(path, write)
    except OSError as error:
        why = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or error
        raise StorageError(f"cannot write {str(path)!r}: {why}; nothing was left behind") from error


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        write(Path(name))
        with open(name, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


@contextlib.contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Hold the lock of a folder while the block runs, against every process on its file system.

    Args:
        what: name of the folder's content in the message, as in "study 'a'".

    Raises:
        StudyError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StudyError(f"{what} is being written by another driver") from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def in_turn(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Serialise the making of `path` among processes: wait for the one that is at it.

    Args:
        wait: False: do not, and give the block False while another is at it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def write_text(path: Path, text: str) -> None:
    """Write text to a file atomically, as UTF-8; see `write_whole`."""
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def sha256(path: Path) -> str:
    """SHA-256 of the file's content, 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
