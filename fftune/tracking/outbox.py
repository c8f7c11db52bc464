"""Calls that could not be sent to the MLflow server, in files that outlive the process.

<root>/mlflow-unsent/<nanoseconds>-<process>.jsonl    one file per run, one line per call
"""

import json
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fftune.stored_file import reading

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
        """Append a call to the file; the first of a run is logged as a warning."""
        if self.path is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.path = self.folder / f"{time.time_ns()}-{os.getpid()}.jsonl"
            log.warning(
                "the MLflow server does not answer; going on, and keeping its runs in %s", self.path
            )
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([name, *arguments]) + "\n")

    def __bool__(self) -> bool:
        return self.path is not None


def unsent_calls(folder: Path) -> Iterator[tuple[Path, list[Call]]]:
    """Yield the file and the calls of each run that has ended or was abandoned, oldest first.

    A line that was cut off in mid-write is left out.
    """
    for path in sorted(folder.glob("*.jsonl")):
        with reading(path, "unsent calls"):
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            calls = [json.loads(line) for line in lines if line.endswith("\n")]
            ended = any(call[0] in ("end", "discard") for call in calls)
        if ended or time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
            yield path, calls
