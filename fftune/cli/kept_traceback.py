"""Tracebacks of defects, kept in a folder that only the user can read."""

import os
import platform
import stat
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path

from fftune.secrets import redacted

MOST = 20
"""Tracebacks that are kept; the oldest make room."""


def keep(error: BaseException) -> str:
    """Keep an error's traceback; return the end of a line that says where it is.

    The traceback holds lines of code and the messages of errors, no values of variables and no
    secrets.
    """
    text = redacted("".join(traceback.format_exception(error)))
    for folder in (_of_user, _temporary):
        with suppress(OSError, RuntimeError, KeyError):  # HOME may be unset, or not writable
            return f"the traceback is in {str(_written(folder(), text))!r}; please report it"
    return "its traceback could be kept nowhere; please report it"


def _of_user() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    folder = Path(state) / "fftune/tracebacks"
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{folder} is not a folder of the user's")
    folder.chmod(0o700)
    return folder


def _temporary() -> Path:
    return Path(tempfile.mkdtemp(prefix="fftune-traceback-"))  # 0700, as Python makes them


def _written(folder: Path, text: str) -> Path:
    path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{time.monotonic_ns() % 10**6}"
    path = path.with_suffix(".txt")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", -1, "utf-8") as file:
        file.write(f"{_release()}\n\n{text}")
    for old in sorted(folder.glob("*.txt"))[:-MOST]:
        old.unlink(missing_ok=True)
    return path


def _release() -> str:
    from fftune import __version__

    libraries = (name for name in ("torch", "ray", "mlflow", "optuna") if name in sys.modules)
    each = (f"{name} {getattr(sys.modules[name], '__version__', '?')}" for name in libraries)
    return ", ".join([f"fftune {__version__}", f"Python {platform.python_version()}", *each])
