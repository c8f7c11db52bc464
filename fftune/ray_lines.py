"""Ray's own lines: in the log at level debug, and neither on stdout nor on stderr.

Ray prints what its nodes meet on stdout, which carries results; its errors with their tracebacks on
stderr; and its C++ writes to descriptor 2, as its last words before it ends the process.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import Any

from ray._private import worker

MOST = 200
"""Lines of Ray's C++ that are logged, the last ones."""
log = logging.getLogger(__name__)


@contextmanager
def rays_lines_logged() -> Iterator[None]:
    """Log what Ray says in this process while the block runs.

    Its C++ is told from Python where `fftune.cli.streams` has given Python's stderr a descriptor of
    its own, as every command does.
    """
    rays, printed = logging.getLogger("ray"), worker.print_worker_logs
    before, worker.print_worker_logs = rays.handlers[:], _printed
    rays.handlers[:] = [_Forwarding()]
    try:
        with _descriptor_logged():
            yield
    finally:
        rays.handlers[:], worker.print_worker_logs = before, printed


def _printed(data: dict[str, Any], *_where: Any, **_how: Any) -> None:
    for message in data["lines"]:
        _say(message)


class _Forwarding(logging.Handler):
    """Handler of Ray's records, which make records of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        _say(self.format(record))


def _say(message: str) -> None:
    for line in message.splitlines():
        log.debug("Ray: %s", line)


@contextmanager
def _descriptor_logged() -> Iterator[None]:
    if not _apart():
        yield
        return
    before = os.dup(2)
    with TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
            kept.seek(0)
            for line in kept.read().decode(errors="replace").splitlines()[-MOST:]:
                _say(line)


def _apart() -> bool:
    """Does Python's stderr go elsewhere than to descriptor 2, which is open?"""
    try:
        os.fstat(2)
        return sys.stderr.fileno() != 2
    except (AttributeError, OSError, ValueError):  # no files, as in notebooks
        return False
