"""stdout and stderr of a command: what each does when nobody reads it, or its disk is full.

Neither ever carries a password, whoever wrote it: a library, a user's net, or we.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from fftune.errors import StorageError
from fftune.secrets import redacted

PIPE_CLOSED = 141
"""Exit code of a command whose reader went away, as in `fftune --help | head -1`: 128 + SIGPIPE."""
UNWRITABLE = (OSError, ValueError)
"""Errors of streams that cannot be written; ValueError is Python's for closed ones."""


class Results:
    """stdout, which carries results: without them the command has failed."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.written = time.monotonic()
        """Time at which something was written for the last time."""

    def write(self, text: str) -> int:
        """Write a text.

        Raises:
            SystemExit: `PIPE_CLOSED`, as nobody reads any more.
            StorageError: the text cannot be written.
        """
        with self._told():
            self._stream.write(redacted(text))
        self.written = time.monotonic()
        return len(text)

    def isatty(self) -> bool:
        """Is it a terminal? Not one that is closed; Python's raises an error then."""
        return not self._stream.closed and bool(self._stream.isatty())

    def flush(self) -> None:
        """Write what is held back; raises what `write` does."""
        with self._told():
            self._stream.flush()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise SystemExit(PIPE_CLOSED) from None
        except OSError as error:
            raise StorageError(f"stdout cannot be written: {error.strerror}") from None
        except ValueError:
            if not self._stream.closed:
                raise
            raise StorageError(
                "a net, or a library, has closed stdout: its results are not shown"
            ) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Log(Results):
    """stderr, which carries the log: the command goes on where it cannot be written."""

    def write(self, text: str) -> int:
        """Write a text, if that is possible."""
        with contextlib.suppress(*UNWRITABLE):
            self._stream.write(redacted(text))
        self.written = time.monotonic()
        return len(text)

    def flush(self) -> None:
        """Write what is held back, if that is possible."""
        with contextlib.suppress(*UNWRITABLE):
            self._stream.flush()


@contextlib.contextmanager
def streams() -> Iterator[tuple[Results, Log]]:
    """Have `Results` and `Log` while the block runs, in which any character can be written."""
    before = sys.stdout, sys.stderr
    own = Results(_open(sys.stdout)), Log(_open(_apart(sys.stderr)))
    sys.stdout, sys.stderr = own
    try:
        yield own
    finally:
        sys.stdout, sys.stderr = before


def give_up() -> None:
    """Let go of what can be written nowhere; Python would try it again at its end, and complain."""
    for stream in filter(None, (sys.__stdout__, sys.__stderr__)):
        if stream.closed:
            continue
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _open(stream: Any) -> Any:
    """The stream, or nowhere where the caller has closed it; ASCII terminals get escapes."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    return stream


def _apart(stream: Any) -> Any:
    """Give stderr a descriptor of its own: what libraries write to descriptor 2 is told from it.

    A stream of another kind, as in notebooks, is returned as it is.
    """
    try:
        own = os.dup(stream.fileno()) if stream.fileno() == 2 else None
    except (AttributeError, OSError, ValueError):
        own = None
    return stream if own is None else open(own, "w", buffering=1, encoding=stream.encoding)
