"""Errors of trials: what its settings did fails a trial, all else ends the study.

A full disk, too little memory, a device, a cluster or a damaged file says nothing about the
settings of the trial that met it: the command ends with one line, and `--resume` tries again.
"""

import errno
import re
from collections.abc import Iterator

from fftune.errors import (
    ClusterError,
    ConfigError,
    DeviceError,
    DivergedError,
    FftuneError,
    OutOfMemoryError,
    StorageError,
    UserCodeError,
    first_words,
    nearest_class,
)
from fftune.training.out_of_memory import described, ran_out

STORES = ("mlflow", "sqlalchemy", "sqlite3", "psycopg2", "optuna", "pyarrow")
"""Packages of which an error in a trial is one of storage."""
NO_ROOM = re.compile(
    r"No space left|Disk quota|Too many open files|Read-only file system|Input/output error"
    r"|PytorchStreamWriter failed|unable to (?:mmap|open shared memory)"
)
"""Words of runtime errors of libraries that mean an `OSError`."""
DEVICE = re.compile(r"CUDA error|CUDA driver|cudaError|CUDNN_STATUS|CUBLAS_STATUS|NCCL")
"""Words of runtime errors of a device that broke."""
WORDS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EMFILE: "too many open files; `ulimit -n` allows more",
    errno.ENFILE: "too many open files on this machine",
}


def by_settings(error: BaseException) -> bool:
    """Tell if a trial failed by what its settings did: anywhere they would do it again."""
    if isinstance(error, DeviceError) or isinstance(error.__cause__, UserCodeError | OSError):
        return False
    return isinstance(error, DivergedError | ConfigError)


def by_surroundings(error: BaseException) -> FftuneError | None:
    """Tell in one line what the surroundings did to a trial; None where that is not known."""
    if isinstance(error, FftuneError):
        return error
    if ran_out(error):
        return OutOfMemoryError(described(error))
    for one in _chain(error):
        if isinstance(one, ConnectionError | TimeoutError):
            return ClusterError(first_words(one))
        if isinstance(one, OSError):
            return StorageError(_of_system(one))
        if isinstance(one, RuntimeError) and NO_ROOM.search(str(one)):
            return StorageError(first_words(one))
        if isinstance(one, RuntimeError) and DEVICE.search(str(one)):
            return DeviceError(f"the device failed: {first_words(one)}")
    if type(error).__module__.partition(".")[0] in STORES:
        return StorageError(first_words(error))
    return None


def ending(error: Exception, number: int) -> Exception:
    """The error that ends a study in place of one that a trial met: it says which is left.

    An error that nobody foresaw is returned as it is.
    """
    known = by_surroundings(error)
    if known is None:
        return error
    left = f"trial {number} is left to --resume"
    return known if left in str(known) else nearest_class(known)(f"{known} ({left})")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what it was raised for."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _of_system(error: OSError) -> str:
    why = WORDS.get(error.errno or 0, error.strerror or first_words(error))
    return f"{str(error.filename)!r}: {why}" if error.filename else why
