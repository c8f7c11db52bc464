"""Calls that could not be sent to the MLflow server, in files that outlive the process.

<root>/mlflow-unsent/<nanoseconds>-<process>.jsonl    one file per run, one line per call
"""

import json
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fftune.storage import make_folder, storing
from fftune.stored_file import require_plain_file

log = logging.getLogger(__name__)

ABANDONED_SECONDS = 3600.0
"""Silence after which a run that has not ended is taken for dead."""

Call = list[Any]
"""Name of a call, then its arguments, all plain JSON."""


@dataclass(slots=True)
class Outbox:
    """Unsent calls of one run, in order; false while there are none."""

    folder: Path
    path: Path | None = None
    """File that holds them; None until the first is kept."""

    def keep(self, name: str, *arguments: Any) -> None:
        """Append a call to the file; the first of a run is logged as a warning.

        Raises:
            StorageError: the disk is full or fails.
        """
        if self.path is None:
            with storing(self.folder):
                make_folder(self.folder)
            self.path = self.folder / f"{time.time_ns()}-{os.getpid()}.jsonl"
            log.warning(
                "the MLflow server does not answer; going on, and keeping its runs in %s", self.path
            )
        with storing(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([name, *arguments]) + "\n")

    def __bool__(self) -> bool:
        return self.path is not None


def unsent_files(folder: Path) -> list[Path]:
    """Files of unsent calls, oldest first."""
    return sorted(folder.glob("*.jsonl"))


def unsent_calls(path: Path) -> list[Call]:
    """Calls in the file of a run that has ended or was abandoned; none if it may still go on.

    A line that was cut off in mid-write is left out.

    Raises:
        ValueError: the file is damaged.
        StorageError: it is none: a pipe would be waited for.
    """
    require_plain_file(path)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    calls = [json.loads(line) for line in lines if line.endswith("\n")]
    for call in calls:
        if not (isinstance(call, list) and call and isinstance(call[0], str)):
            raise ValueError(f"it holds {str(call)[:40]!r}, which is no call")
    ended = any(call[0] in ("end", "discard") for call in calls)
    if ended or time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
        return calls
    return []


def set_aside(path: Path, reason: str) -> None:
    """Keep a file that can never be sent, out of the way of those that can."""
    aside = path.with_suffix(".refused")
    path.replace(aside)
    log.warning("MLflow cannot take what is kept in %s: %s", aside, reason)
