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
import fcntl
import hashlib
import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from fftune.errors import FftuneError, StorageError, StudyError
from fftune.stored_file import require_plain_file

DEFAULT_ROOT = "~/.local/share/fftune"


def storage_root(given: str | None = None, *, written: bool = True) -> Path:
    """Absolute path of the storage folder: `given`, `FFTUNE_STORAGE`, or one in the user's home.

    Args:
        written: the caller writes to it, and does not only read.

    Raises:
        StorageError: a folder that was named does not exist or cannot be written; none was, and
            there is no home folder that can be.
    """
    named = given or os.environ.get("FFTUNE_STORAGE")
    if named and "://" in named:
        raise StorageError(
            f"storage {named!r} is not a folder on this machine; remote storage must be mounted"
        )
    root = in_home(named or DEFAULT_ROOT).absolute()
    if not named:
        with storing(root, "; name another folder with --storage or FFTUNE_STORAGE"):
            make_folder(root)
    if root.exists() and not root.is_dir():
        raise StorageError(f"storage {str(root)!r} is a file, and a folder is needed there")
    if not root.is_dir():
        made = f"`{shlex.join(['mkdir', '-p', str(root)])}` makes it"
        do = f"{made}, or name another" if str(root).isprintable() else "name another"
        raise StorageError(f"storage {str(root)!r} does not exist; {do}")
    if not os.access(root, os.R_OK | os.X_OK):
        raise StorageError(f"storage {str(root)!r} cannot be read")
    if written and not may_write(root):
        raise StorageError(f"storage {str(root)!r} cannot be written")
    return root


def in_home(path: str) -> Path:
    """A path that may begin with `~`, the user's home folder.

    Raises:
        StorageError: that folder is not known.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise StorageError(
            f"{path!r} lies in a home folder, and this user has none; set HOME, or name another"
        ) from None


def require_replaceable(path: Path, kind: str, read: Callable[[Path], object]) -> None:
    """Check that nothing is lost where a file is written that the user has named.

    Args:
        kind: what is written there, as in "signed manifest".
        read: reads an earlier one, and raises a ValueError or an error of ours for all else.

    Raises:
        StorageError: something of another kind is there.
    """
    if not os.path.lexists(path):
        return
    require_plain_file(path)
    try:
        read(path)
    except (FftuneError, ValueError):
        raise StorageError(
            f"{str(path)!r} is no {kind} and would be replaced: name another"
        ) from None


def may_write(folder: Path) -> bool:
    """Tell if files can be made in a folder, or in the one in which it would be made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file atomically and for good: readers see the old file or the new one, never a part.

    The content and the name are on disk when it returns. Writers of one file take turns. What a
    killed one left is written over by the next, or deleted by `locked`.

    Args:
        write: fills the file `.<name>.part` beside `path`, which is then renamed.

    Raises:
        StorageError: the disk is full or fails, or the folder cannot be written.
    """
    require_plain_file(path)
    with storing(path, "; nothing was left behind"):
        make_folder(path.parent)
        with _part_of(path) as part:
            write(part)
            _sync(part, os.O_RDONLY)
            os.replace(part, path)
    with storing(path):
        _sync_folder(path.parent)


@contextlib.contextmanager
def storing(path: Path, outcome: str = "") -> Iterator[None]:
    """Turn what the file system refuses into one line that names the file.

    Args:
        outcome: end of the line, about what the failure left.

    Raises:
        StorageError: an operation of the block failed.
    """
    try:
        yield
    except OSError as error:
        why = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or error
        raise StorageError(f"cannot write {str(path)!r}: {why}{outcome}") from error


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, for good."""
    new = []
    while not folder.is_dir():
        new.append(folder)
        folder = folder.parent
    for one in reversed(new):
        one.mkdir(exist_ok=True)
        _sync_folder(one.parent)


@contextlib.contextmanager
def _part_of(path: Path) -> Iterator[Path]:
    """Empty file `.<name>.part` beside `path`, held against other writers of `path`.

    The lock ends with the process that holds it: a leftover is nobody's. The block renames the
    file; where it fails, the file is deleted.
    """
    part = path.with_name(f".{path.name}.part")
    handle = _held(part)
    try:
        try:
            os.ftruncate(handle, 0)
            yield part
        finally:
            _delete(part, handle)
    finally:
        _delete(part, handle)  # once more: an interruption may have come between
        os.close(handle)


def _delete(part: Path, handle: int) -> None:
    """Delete a file if it is the open one, and not renamed yet; where that fails, it is left."""
    with contextlib.suppress(OSError):
        if os.path.samestat(os.fstat(handle), os.lstat(part)):
            os.unlink(part)


def _held(part: Path) -> int:
    """Descriptor of a new or left file, locked."""
    while True:
        try:
            handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except PermissionError:
            if not os.path.lexists(part):
                raise
            _take_away(part)
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            # Not so where the one waited for has renamed or deleted what was opened here.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), os.lstat(part)):
                    return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _take_away(part: Path, *, wait: bool = True) -> None:
    """Delete what a killed writer left, where the folder's rights allow it.

    Args:
        wait: until a writer that is at work has ended; False: raise an error then.

    Raises:
        PermissionError: it is another user's, and they do not.
        BlockingIOError: a writer is at work.
    """
    handle = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.lstat(part)):
                os.unlink(part)
    finally:
        os.close(handle)


def _tidy(folder: Path) -> None:
    """Delete below a folder what killed writers left, and nobody may ever write over."""
    with contextlib.suppress(OSError):  # folders may come and go where others are at work
        for part in folder.rglob(".*.part"):
            with contextlib.suppress(OSError):  # such as that its writer is at work
                _take_away(part, wait=False)


def _sync(path: Path, flags: int) -> None:
    """Wait until a file or folder is on disk."""
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk, on file systems that can say so."""
    try:
        _sync(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


@contextlib.contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Hold the lock of a folder while the block runs, against every process on its file system.

    What killed writers left in it is deleted.

    Args:
        what: name of the folder's content in the message, as in "study 'a'".

    Raises:
        StorageError: the folder cannot be written.
        StudyError: another process holds it.
    """
    lock = FileLock(folder / "lock")
    with storing(folder):
        make_folder(folder)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise StudyError(f"{what} is being written by another driver") from None
    try:
        _tidy(folder)
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def in_turn(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Serialise the making of `path` among processes: wait for the one that is at it.

    Args:
        wait: False: do not, and give the block False while another is at it.
    """
    lock, mine = FileLock(path.with_name(f".{path.name}.lock")), True
    with storing(path):
        make_folder(path.parent)
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            mine = False
    try:
        yield mine
    finally:
        lock.release()


def write_text(path: Path, text: str) -> None:
    """Write text to a file atomically, as UTF-8; see `write_whole`."""
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def sha256(path: Path) -> str:
    """SHA-256 of the file's content, 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
