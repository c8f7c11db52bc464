"""The way in for every file that is read: what is wrong with one is one line.

It says which file, what is wrong with it, and what to do about that; see `fftune.remedies`.
"""

import errno
import json
import stat
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fftune.errors import FftuneError, StorageError, UserCodeError, UserError
from fftune.remedies import REMEDIES

SPECIAL = {
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}
"""Names of what stands at a path and is no file, by the type in its mode."""


@contextmanager
def reading(path: Path, what: str, error: type[UserError] = StorageError) -> Iterator[None]:
    """Turn all that a file can do while the block reads it into one error that names it.

    Args:
        what: kind of the file, as in "settings".
        error: class of the errors of whoever reads it.

    Raises:
        error: the file is missing, unreadable, special (a pipe would be waited for), damaged, or
            holds something else.
    """
    try:
        require_plain_file(path)
    except StorageError as cause:
        raise error(f"{what} {cause}") from cause
    try:
        yield
    except FftuneError as cause:
        named = str(path) in str(cause)
        if _is_of_user_code(cause):
            raise error(str(cause) if named else f"{what} {str(path)!r}: {cause}") from cause
        if not named:
            raise error(damaged(what, path, str(cause))) from cause
        if (whole := advised(what, str(cause), cause.__cause__)) != str(cause):
            raise type(cause)(whole) from cause
        raise
    except Exception as cause:  # damaged files fail by the errors of every library that reads them
        if _is_closed(cause):
            raise error(f"{what} {str(path)!r} cannot be read: {_reason(cause)}") from cause
        reason = "it is empty" if _is_empty(path) else _reason(cause)
        raise error(damaged(what, path, reason)) from cause


def damaged(what: str, path: Path | str, reason: str) -> str:
    """The line about a damaged file: which, why, and what to do.

    Args:
        what: kind of the file, one of `REMEDIES`.
    """
    return advised(what, f"{what} {str(path)!r} is damaged: {reason}")


def advised(what: str, line: str, cause: BaseException | None = None) -> str:
    """The line about a file of that kind, with what to do at its end.

    Args:
        cause: the error that the line tells; where the operating system refused the file, which may
            well be whole, the line is left as it is.
    """
    return line if _is_closed(cause) or _advice(what) in line else line + _advice(what)


def other_advice(line: str, what: str, advice: str) -> str:
    """The line about a file of that kind, with advice of somebody who knows more of it."""
    return f"{line.removesuffix(_advice(what))}; {advice}"


def read_text(path: Path, what: str, error: type[UserError] = StorageError) -> str:
    """Read a text in UTF-8; raises what `reading` does."""
    with reading(path, what, error):
        return path.read_text(encoding="utf-8")


def read_json(path: Path, what: str, error: type[UserError] = StorageError) -> Any:
    """Read a JSON value; raises what `reading` does."""
    with reading(path, what, error):
        return json.loads(path.read_text(encoding="utf-8"))


def read_object(path: Path, what: str, error: type[UserError] = StorageError) -> dict[str, Any]:
    """Read a JSON object; raises what `reading` does."""
    data = read_json(path, what, error)
    if not isinstance(data, dict):
        kind = type(data).__name__
        raise error(advised(what, f"{what} {str(path)!r} must hold a JSON object, got {kind}"))
    return data


def read_toml(path: Path, what: str, error: type[UserError] = StorageError) -> dict[str, Any]:
    """Read a TOML file, which people write; raises what `reading` does."""
    text = read_text(path, what, error)
    if not text.strip():  # which is TOML, and nobody's
        raise error(damaged(what, path, "it is empty"))
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as cause:
        line = f"{what} {str(path)!r} is not TOML: {cause}"
        raise error(advised(what, line)) from None


def require_plain_file(path: Path) -> None:
    """Refuse a path where a device, a pipe, a socket or a folder stands; nothing may stand there.

    Such a thing is never read, which may have no end, and never replaced by a file.

    Raises:
        StorageError: the message says what stands there; or no file can be called so.
    """
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except ValueError:  # as of a name with a NUL, which a damaged file may give
        raise StorageError(f"{str(path)!r} is no path") from None
    except OSError:  # it is missing, or closed to this user: told where it is read or written
        return
    if kind != stat.S_IFREG:
        what = SPECIAL.get(kind, "no file")
        raise StorageError(f"{str(path)!r} is {what}, and a file is needed there")


def _advice(what: str) -> str:
    return f"; {remedy}" if (remedy := REMEDIES.get(what)) else ""


def _is_closed(error: BaseException | None) -> bool:
    """The operating system refused the file.

    Before the beginning of a file, where torch looks in half of one, is an invalid place.
    """
    refused = isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)
    return refused or isinstance(error, FileNotFoundError | PermissionError)


def _is_of_user_code(error: BaseException | None) -> bool:
    """Code that the file names has failed, or may not run: the file itself is whole."""
    while error is not None and not isinstance(error, UserCodeError):
        error = error.__cause__
    return error is not None


def _is_empty(path: Path) -> bool:
    try:
        return path.stat().st_size == 0
    except OSError:
        return False


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, KeyError) and error.args:
        return f"{error.args[0]} is missing"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "out of memory"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
