"""Commands as children of one warmed process that the shim watches."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.shim import Call, Fault, build, calls
from tests.faults.warm import SHIM

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    """Exit code; negative for a signal."""
    out: str
    err: str
    calls: tuple[Call, ...]
    """All that were recorded, or the one that was struck."""


class Forks:
    """The warmed process; `folder` is for what it needs itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        shim = build(folder)
        environment = os.environ | {SHIM: str(shim), "LD_PRELOAD": str(shim)}
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.warm"],
            cwd=ROOT,
            env=environment | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def warm(self, arguments: Sequence[str], folder: Path) -> None:
        """Run a command in the warmed process itself."""
        self._ask({"warm": True, **_request(arguments, folder)})

    def run(
        self,
        arguments: Sequence[str],
        folder: Path,
        fault: Fault | None = None,
        *,
        record: bool = False,
    ) -> Ended:
        """Run a command whose storage, data, home and temporary files are below `folder`."""
        files = {name: self._folder / name for name in ("out", "err", "log")}
        code = self._ask(
            {
                **_request(arguments, folder),
                **{name: str(path) for name, path in files.items()},
                "fault": fault and fault.json(),
                "record": record,
            }
        )
        out, err = (files[name].read_text(errors="replace") for name in ("out", "err"))
        return Ended(code, out, err, tuple(calls(files["log"])))

    def close(self) -> None:
        """End the process."""
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()

    def _ask(self, request: dict[str, object]) -> int:
        assert self._server.stdin is not None and self._server.stdout is not None
        print(json.dumps(request), file=self._server.stdin, flush=True)
        answer = self._server.stdout.readline()
        assert answer, "the warmed process has died"
        return int(answer)


def _request(arguments: Sequence[str], folder: Path) -> dict[str, object]:
    places = {"FFTUNE_STORAGE": "store", "FFTUNE_DATA": "data", "HOME": "home", "TMPDIR": "tmp"}
    for place in places.values():
        (folder / place).mkdir(exist_ok=True)
    return {
        "arguments": [word.replace("FOLDER", str(folder)) for word in arguments],
        "folder": str(folder),
        "environment": {name: str(folder / place) for name, place in places.items()},
    }
