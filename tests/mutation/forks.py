"""Forks that inherit the libraries and import fftune with a mutant in place of one file."""

import contextlib
import ctypes
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

from tests.mutation import places
from tests.mutation.places import kept, libraries, module_of

ALONE = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_worker_niceness": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
PLUGINS_OFF = ("cacheprovider", "faulthandler", "unraisableexception", "threadexception")
"""Plugins of pytest that are not loaded; those of other packages are not either."""
DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of prctl(2)."""
ROOM = 6 << 30
"""Bytes of address space that a mutant may take beyond its parent's."""


def load_libraries() -> None:
    """Import the libraries that children share; fftune itself must not be among them."""
    os.environ.update(ALONE)
    sys.path[:0] = [str(places.ROOT)] * (str(places.ROOT) not in sys.path)
    from _pytest.config import default_plugins

    parts = [f"_pytest.{plugin}" for plugin in default_plugins]
    for name in ("torch", "coverage", "hypothesis", *parts, *libraries()):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    importlib.import_module("torch").set_num_threads(1)
    assert not any(name.partition(".")[0] == "fftune" for name in sys.modules)
    # Tests are read anew in every child, and compiled once.
    sys.dont_write_bytecode, sys.pycache_prefix = False, str(kept() / "bytecode")
    gc.collect()
    gc.freeze()


@dataclass(slots=True)
class Child:
    """Forked process and its result file."""

    pid: int
    place: Path
    ends: float
    """Deadline on the monotonic clock."""

    def result(self) -> dict[str, Any] | None:
        """Result of the task, and its folder removed; None while it runs."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        late = time.monotonic() > self.ends
        if not pid and not late:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if not pid:
            os.waitpid(self.pid, 0)
        try:
            return self._read(late or self._spent(status))
        finally:
            shutil.rmtree(self.place, ignore_errors=True)

    def _read(self, late: bool) -> dict[str, Any]:
        path = self.place / "result.json"
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
        output = (self.place / "output").read_text(encoding="utf-8", errors="replace")
        return {"status": "timed out" if late else "died", "output": output[-2000:]}

    @staticmethod
    def _spent(status: int) -> bool:
        return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU


def fork(task: Callable[[], dict[str, Any]], seconds: float, *, loud: bool = False) -> Child:
    """Start `task` in a child of its own folder, home and process group.

    Args:
        seconds: limit of processor time; the wall-clock limit is six times as long, for busy
            machines.
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
    """Isolate the child: no network, a home of its own, limited memory."""
    os.setsid()
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
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
    os.chdir(places.ROOT)
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
    """Import hook that gives one module another text."""

    def __init__(self, file: str, text: str) -> None:
        self.name, self.path, self.text = module_of(file), str(places.ROOT / file), text

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
    """Run pytest in this process, without the options of pyproject.toml."""
    import pytest

    if "hypothesis" in sys.modules:
        settings = importlib.import_module("hypothesis").settings
        settings.register_profile("mutants", derandomize=True, database=None, deadline=None)
        settings.load_profile("mutants")
    plain = [
        "-o",
        "addopts=",
        "-o",
        "filterwarnings=",
        "-m",
        "not slow",
        "--disable-plugin-autoload",
    ]
    off = [word for plugin in PLUGINS_OFF for word in ("-p", f"no:{plugin}")]
    tone = ["-rN", "--tb=short"] if loud else ["-qq", "--tb=no", "--no-summary", "--assert=plain"]
    return int(pytest.main([*plain, *off, *tone, *arguments], plugins=plugins))
