"""What a server that went away is still to be told, in files that outlive the process.

<root>/mlflow-unsent/<nanoseconds>-<process>.jsonl    a file a run, a line a call
"""

import json
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

ABANDONED_SECONDS = 3600.0
"""A run that kept nothing for so long has died."""

Call = list[Any]
"""A name, and plain arguments."""


@dataclass(slots=True)
class Outbox:
    """Calls of one run that nobody has answered, in order."""

    folder: Path
    path: Path | None = None
    """Where they are kept, once there are any."""

    def keep(self, name: str, *arguments: Any) -> None:
        """Write a call down; the first of a run is said."""
        if self.path is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.path = self.folder / f"{time.time_ns()}-{os.getpid()}.jsonl"
            log.warning("MLflow does not answer; going on, and keeping it in %s", self.path)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([name, *arguments]) + "\n")

    def __bool__(self) -> bool:
        return self.path is not None


def kept(folder: Path) -> Iterator[tuple[Path, list[Call]]]:
    """What every run left, the oldest first, but for runs that may still be going on.

    A line that was cut off is left out.
    """
    for path in sorted(folder.glob("*.jsonl")):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        calls = [json.loads(line) for line in lines if line.endswith("\n")]
        ended = any(call[0] in ("end", "discard") for call in calls)
        if ended or time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
            yield path, calls
