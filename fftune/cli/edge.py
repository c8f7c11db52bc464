"""The edge of the command line: whatever a verb raises becomes an exit code and one line.

| exit code | meaning |
|---|---|
| 0 | done; a verdict "pass" |
| 1 | a run, or a check of `fftune doctor`, failed; or a defect of fftune: the line says where the
traceback was kept |
| 2 | the user can mend it: settings, files, disk, memory, database, cluster |
| 3, 4 | a verdict "fail" or "inconclusive" (`--bar`) |
| 130 | interrupted, by Ctrl-C or SIGTERM |
| 141 | nobody read stdout any more |

Files are read where an error can name them (`fftune.stored_file`); what is told here is the last
resort, by the kind of the error.
"""

import errno
import gc
import json
import logging
import pickle
import signal
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from fftune.cli.kept_traceback import keep
from fftune.cli.streams import give_up, streams
from fftune.errors import FftuneError, first_words
from fftune.invocation import as_typed
from fftune.secrets import redacted
from fftune.user_code import at_fault

INTERRUPTED = 130
LONGEST = 2000
"""Characters of a line."""
MENDING = {
    errno.ENOSPC: "free space on its disk",
    errno.EDQUOT: "free space in your quota",
    errno.EACCES: "see who may read and write it",
    errno.EPERM: "see who may read and write it",
    errno.EROFS: "its disk can only be read",
    errno.EMFILE: "allow more open files (`ulimit -n`)",
    errno.ENFILE: "this machine has too many open files",
    errno.ENOMEM: "free memory, or ask for less",
    errno.EIO: "its disk may be failing",
    errno.ESTALE: "its disk was mounted anew",
}
"""Advice for an error of the operating system."""
OTHERS = {
    "sqlalchemy": "a database",
    "sqlite3": "a database",
    "psycopg2": "a database",
    "alembic": "a database",
    "mlflow": "MLflow",
    "optuna": "Optuna's storage",
    "ray": "Ray",
    "grpc": "Ray",
    "requests": "the network",
    "urllib3": "the network",
    "http": "the network",
    "ssl": "the network",
    "pyarrow": "a Parquet file",
    "filelock": "a lock",
    "kaleido": "Chrome, which draws the pictures,",
    "choreographer": "Chrome, which draws the pictures,",
}
"""Sources of errors, by the package of their class."""
FORMATS: dict[type[Exception], str] = {
    json.JSONDecodeError: "a JSON file is damaged",
    tomllib.TOMLDecodeError: "a TOML file is damaged",
    pickle.UnpicklingError: "a file is damaged",
    zipfile.BadZipFile: "a file is damaged",
    UnicodeError: "a text is not UTF-8, or has characters that cannot be written here",
    EOFError: "a file ends too early",
    RecursionError: "a file or a net is nested too deeply",
}
log = logging.getLogger(__name__)


def ended(work: Callable[[], None], again: str = "run it again") -> int:
    """Do the work of a command; return its exit code, having told on stderr why, if not 0.

    Args:
        again: how to go on after an interruption.
    """
    with streams() as (results, words):
        code = 0
        try:
            with _interruptible():
                work()
                results.flush()
        except BaseException as error:
            code, line = told(error, again)
            if line:
                log.debug("what was behind it", exc_info=error)
                print(f"fftune: {line}", file=words)
        if code in (0, 3, 4) and sys.stdout is not results:
            code = 2
            print(
                "fftune: a net, or a library, has replaced stdout: its results are not shown",
                file=words,
            )
        try:
            results.flush()
        except (SystemExit, FftuneError):
            code = code or 2  # the first error was told
    return code


def leave(work: Callable[[], None], again: str = "run it again") -> NoReturn:
    """Do the work of a command, and end the process by its exit code."""
    code = ended(work, again)
    give_up()
    gc.freeze()  # else all that was ever imported is looked through once more, for a second
    sys.exit(code)


def told(error: BaseException, again: str) -> tuple[int, str]:
    """The exit code that an error stands for, and one line, empty where all was said already."""
    error = getattr(error, "cause", None) or error  # a task's on Ray
    if isinstance(error, FftuneError):
        return error.exit_code, one_line(as_typed(str(error)))
    place = at_fault(error)
    if _is_signal(error) or (isinstance(error, KeyboardInterrupt) and not place):
        return INTERRUPTED, f"interrupted; {again}"
    if isinstance(error, SystemExit) and not place:
        return _code(error)
    if place:
        return 2, f"{place}: {_named(error)}"
    if memory := _memory(error):
        return 2, memory
    if surroundings := _surroundings(error):
        return 2, surroundings
    return 1, f"a defect of fftune: {_named(error)}; {keep(error)}"


def one_line(text: str) -> str:
    """A text without line breaks, what moves a terminal's cursor, passwords, and without end."""
    flat = "; ".join(line.strip() for line in redacted(text).splitlines() if line.strip())
    flat = flat if len(flat) <= LONGEST else f"{flat[: LONGEST - 4]} ..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in flat)


def on_signal(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Interrupt the command: how `ray job stop` asks, and Ctrl-C."""
    raise KeyboardInterrupt


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let both signals interrupt, so that a user's own KeyboardInterrupt is told from them."""
    try:
        before = [(sig, signal.signal(sig, on_signal)) for sig in (signal.SIGTERM, signal.SIGINT)]
    except ValueError:  # not the main thread, which signals do not reach
        before = []
    try:
        yield
    finally:
        for sig, handler in before:
            signal.signal(sig, handler)


def _is_signal(error: BaseException) -> bool:
    """The error was raised by a handler of signals: ours, or Ray's own."""
    trace, last = error.__traceback__, None
    while trace is not None:
        last, trace = trace.tb_frame, trace.tb_next
    if last is None:
        return False
    return last.f_code is on_signal.__code__ or last.f_code.co_name == "sigterm_handler"


def _code(stop: SystemExit) -> tuple[int, str]:
    if isinstance(stop.code, str):
        return 1, one_line(stop.code)
    return stop.code or 0, ""


def _named(error: BaseException) -> str:
    try:
        reason = one_line(str(error))
    except Exception:  # noqa: BLE001 - a class of the user's whose text fails
        reason = ""
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__


def _memory(error: BaseException) -> str:
    """Line of an error that says that memory ended; empty for others."""
    if "torch" in sys.modules:
        from fftune.training.out_of_memory import described, ran_out

        return one_line(described(error)) if ran_out(error) else ""
    return "out of memory; free some, or ask for less" if isinstance(error, MemoryError) else ""


def _surroundings(error: BaseException) -> str:
    """Line of an error of files, disk, network or databases; empty for others."""
    if isinstance(error, OSError):
        return _os_error(error)
    for kind in type(error).__mro__:
        if (package := kind.__module__.partition(".")[0]) in OTHERS:
            words = f"{type(error).__name__}: {first_words(error)}"  # MLflow adds SQL below
            return f"{OTHERS[package]} failed: {one_line(words)}"
    if isinstance(error, ImportError) and not (error.name or "fftune").startswith("fftune"):
        return f"the installation is not whole: {_named(error)}"
    if isinstance(error, RuntimeError) and "home directory" in str(error):
        return f"there is no such home folder: {_named(error)}; name folders by whole paths"
    for kind, what in FORMATS.items():
        if isinstance(error, kind):
            return f"{what}: {_named(error)}"
    return ""


def _os_error(error: OSError) -> str:
    names = [repr(str(name)) for name in (error.filename, error.filename2) if name is not None]
    reason = error.strerror or str(error) or type(error).__name__
    do = MENDING.get(error.errno or 0)
    told = f"{' to '.join(names)}: {reason}" if names else f"{_kind(error)}: {reason}"
    return one_line(f"{told}; {do}" if do else told)


def _kind(error: OSError) -> str:
    network = isinstance(error, ConnectionError | TimeoutError)
    return "the network" if network else "the operating system"
