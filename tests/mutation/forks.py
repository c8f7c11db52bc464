"""Children that inherit every library and import fftune anew, a mutant in one file's place."""

import contextlib
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mutation.places import ROOT, libraries, module_of

ALONE = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_worker_niceness": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
ROOM = 6 << 30
"""Bytes of address space that a mutant may take beyond its parent's."""


def load_libraries() -> None:
    """Import what children share; fftune itself must not be among it."""
    os.environ.update(ALONE)
    sys.path[:0] = [str(ROOT)] * (str(ROOT) not in sys.path)
    for name in ("torch", "pytest", "_pytest.main", "hypothesis", *libraries()):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    importlib.import_module("torch").set_num_threads(1)
    assert not any(name.partition(".")[0] == "fftune" for name in sys.modules)
    gc.collect()
    gc.freeze()


@dataclass(slots=True)
class Child:
    """A forked process at its task."""

    pid: int
    place: Path
    ends: float
    """When it is stopped, by the monotonic clock."""

    def result(self) -> dict[str, Any] | None:
        """What it came to, None while it is at work; its folder goes with it."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        late = time.monotonic() > self.ends
        if not pid and not late:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if not pid:
            os.waitpid(self.pid, 0)
        try:
            return self._told(late or self._spent(status))
        finally:
            shutil.rmtree(self.place, ignore_errors=True)

    def _told(self, late: bool) -> dict[str, Any]:
        told = self.place / "result.json"
        if told.is_file():
            return json.loads(told.read_text(encoding="utf-8"))
        output = (self.place / "output").read_text(encoding="utf-8", errors="replace")
        return {"status": "timed out" if late else "died", "output": output[-2000:]}

    @staticmethod
    def _spent(status: int) -> bool:
        return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU


def fork(task: Callable[[], dict[str, Any]], seconds: float, *, loud: bool = False) -> Child:
    """Start `task` in a child of its own folder, home and process group.

    Args:
        seconds: of processor time; by the clock it may take six times as long, since others may
            be at work.
    """
    place = Path(tempfile.mkdtemp(prefix="mutant-"))
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            _settle(place, seconds, loud)
            (place / "new").write_text(json.dumps(task()), encoding="utf-8")
            (place / "new").rename(place / "result.json")
            code = 0
        except BaseException:  # noqa: BLE001 - nothing may come back into the parent's code
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return Child(pid, place, time.monotonic() + 6 * seconds)


def _settle(place: Path, seconds: float, loud: bool) -> None:
    """Make the child a stranger: no network, no home, no memory without end."""
    os.setsid()
    output = os.open(place / "output", os.O_WRONLY | os.O_CREAT)
    if not loud:
        os.dup2(output, 1)
        os.dup2(output, 2)
    spent = int(time.process_time() + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (spent, spent + 5))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    data = Path("~/.cache/fftune/datasets").expanduser()
    home = place / "home"
    (home / ".cache/fftune").mkdir(parents=True)
    if data.is_dir():
        (home / ".cache/fftune/datasets").symlink_to(data)
    os.environ.update(HOME=str(home), TMPDIR=str(place), FFTUNE_STORAGE=str(place / "storage"))
    tempfile.tempdir = str(place)
    os.chdir(ROOT)
    _stay_here()


def _stay_here() -> None:
    """Refuse connections to other machines."""
    plain = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        inet = self.family in (socket.AF_INET, socket.AF_INET6)
        if inet and not str(address[0]).startswith(("127.", "::1", "localhost")):
            raise ConnectionRefusedError("no network here")
        plain(self, address)

    socket.socket.connect = connect  # type: ignore[method-assign]


class Instead(importlib.abc.MetaPathFinder):
    """Gives one module's import another text."""

    def __init__(self, file: str, text: str) -> None:
        self.name, self.path, self.text = module_of(file), str(ROOT / file), text

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(
            name, self.path, loader=_Text(name, self.path, self.text)
        )


class _Text(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, text: str) -> None:
        super().__init__(name, path)
        self.text = text

    def get_code(self, name: str) -> Any:
        return compile(self.text, self.path, "exec", dont_inherit=True)


def pytest_run(arguments: list[str], plugins: list[object], *, loud: bool = False) -> int:
    """pytest in this process, without what others' options ask."""
    import pytest
    from hypothesis import settings

    settings.register_profile("mutants", derandomize=True, database=None, deadline=None)
    settings.load_profile("mutants")
    plain = ["-o", "addopts=", "-o", "filterwarnings=", "-m", "not slow"]
    without = ("cacheprovider", "xdist", "timeout", "faulthandler", "torchattacks")
    off = [word for plugin in without for word in ("-p", f"no:{plugin}")]
    tone = ["-rN", "--tb=short"] if loud else ["-q", "-q", "--tb=no", "--no-summary"]
    return int(pytest.main([*plain, *off, *tone, *arguments], plugins=plugins))
