"""Python files of the user's: run as scripts are, their mistakes reported in one line."""

import contextlib
import difflib
import hashlib
import importlib
import importlib.util
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from shlex import quote
from types import FrameType, ModuleType
from typing import Any

from fftune.code_text import functions_of
from fftune.errors import FftuneError, ModelError, UserCodeError
from fftune.named_code import may_run, within

OURS = Path(__file__).resolve().parent
INSTALLED = ("site-packages", "dist-packages")
STDLIB = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))


def attribute(file: Path, name: str) -> Any:
    """Run a file and get `name` from it; None if the file defines no such thing.

    While it runs its folder comes first in the search for modules, afterwards last. Modules of
    that folder that an earlier run brought in are run again if any of them has changed.

    Raises:
        UserCodeError: only what is stored names the file (`fftune.named_code`); or it fails, or
            ends the program.
    """
    if not (may_run(file) or _asked_by_code()):
        raise UserCodeError(
            "only what is stored names this file, which is not run by itself; if you trust it, add "
            f"--code {quote(str(file))}"
        )
    _RUN.begin(file.absolute())
    with _isolated(file):
        module = _module(file)
    return getattr(module, name, None)


def _asked_by_code() -> bool:
    """A file of the user's has called, within this command: code that runs may run more."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not within.__code__:
        name = frame.f_code.co_filename
        if not name.startswith("<") and _is_local_file(name):
            return True
        frame = frame.f_back
    return False


def defined(file: Path, name: str, kind: str) -> Any:
    """`name` in a user's file, which has to exist and to define it.

    Args:
        kind: "function", or what else the message calls it. A callable is asked for.

    Raises:
        UserCodeError: there is no such file, it fails, or it defines no such function.
    """
    if not file.is_file():
        raise UserCodeError(f"there is no file {str(file)!r}")
    found = attribute(file, name)
    if not callable(found):
        near = difflib.get_close_matches(name, functions_of(file), n=1)
        meant = "".join(f"; did you mean {one!r}?" for one in near)
        raise UserCodeError(f"{file.name} defines no {kind} {name!r}{meant}")
    return found


def called(file: Path, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of the file.

    Raises:
        UserCodeError: it fails, or ends the program.
    """
    with _isolated(file):
        return function(*arguments)


@contextlib.contextmanager
def answering(what: str = "net") -> Iterator[None]:
    """Run a net of the user's, which may fail but not end the program.

    Raises:
        ModelError: `what` ends it.
    """
    try:
        yield
    except SystemExit as stop:
        if _is_of_ray(stop):
            raise
        code = _first_line(str(stop.code)) if isinstance(stop.code, str) else stop.code
        raise ModelError(f"{what} ends the program: SystemExit({code!r})") from stop


def at_fault(error: BaseException) -> str:
    """The place in a file of the user's that an error comes from, as in "mine.py, line 3".

    Empty where the error comes from code of ours, or from what that code has called.
    """
    found = ""
    for name, line in _frames(error):
        place = Path(name)
        if name.startswith("<"):
            continue  # code without a file
        if _lies_in(place, OURS):
            found = ""
        elif place.is_absolute() and _is_local(place):
            found = f"{place.name}, line {line}"
    return found


def _frames(error: BaseException) -> Iterator[tuple[str, int]]:
    """Files and lines, the innermost last; of an error on Ray those that its text tells."""
    for name, line in re.findall(r'File "(.+?)", line (\d+)', getattr(error, "traceback_str", "")):
        yield name, int(line)
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next


def local_code(file: Path) -> str:
    """A digest of all code that a file has brought in by now, beside what is installed.

    Modules whose files have changed since they were run count as they were run.
    """
    return _RUN.digest(file.absolute())


@dataclass
class _Run:
    """The file that was run last, and the modules that came with it."""

    file: Path | None = None
    last: str = ""
    """The end of the search for modules, where its folder was not searched anyhow."""
    there: frozenset[str] = frozenset()
    """Modules that there were before."""
    brought: dict[str, tuple[ModuleType, str]] = field(default_factory=dict)
    """Modules by name, and the digest of their files when they were first seen."""

    def begin(self, file: Path) -> None:
        self._look()
        stale = any(_digest(module) != seen for module, seen in self.brought.values())
        if self.file is not None and (file != self.file or stale):
            folder = self.file.parent.resolve()
            for name, (module, _) in self.brought.items():
                if sys.modules.get(name) is module and _lies_in(_place(module), folder):
                    del sys.modules[name]
            if self.last in sys.path:
                sys.path.remove(self.last)
        if file != self.file or stale:
            self.file, self.there, self.brought = file, frozenset(sys.modules), {}
            self.last = "" if str(file.parent) in sys.path else str(file.parent)
            sys.path.extend([self.last] if self.last else [])
        # A helper may change within the second and the length that its .pyc remembers.
        sys.dont_write_bytecode = True
        importlib.invalidate_caches()

    def digest(self, file: Path) -> str:
        if file == self.file:
            self._look()
        brought = dict(self.brought) if file == self.file else {}
        folder = file.parent.resolve()
        for name, module in _local_modules().items():
            if name not in brought and _lies_in(_place(module), folder):
                brought[name] = module, _digest(module)
        code = sorted((name, seen) for name, (_, seen) in brought.items())
        return hashlib.sha256(repr(code).encode()).hexdigest()[:16]

    def _look(self) -> None:
        """Note what has come since, as a function may import modules when it is called."""
        for name, module in _local_modules().items():
            if name not in self.there and name not in self.brought:
                self.brought[name] = module, _digest(module)


_RUN = _Run()


def _module(file: Path) -> ModuleType:
    name = file.stem
    while name in sys.stdlib_module_names or (name in sys.modules and name not in _RUN.brought):
        name += "_"  # a file called copy.py is not the copy that everybody imports
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None  # a .py file has a loader
    module = importlib.util.module_from_spec(spec)
    folder = str(file.parent.absolute())
    sys.path.insert(0, folder)
    sys.modules[name] = module  # dataclasses look their module up
    _RUN.brought[name] = module, _digest(module)
    try:
        spec.loader.exec_module(module)
    finally:
        if folder in sys.path:
            sys.path.remove(folder)  # the first of two
    return module


@contextlib.contextmanager
def _isolated(file: Path) -> Iterator[None]:
    """Keep command line, stdout and exit away from code of the user's."""
    output = _Aside(sys.stderr)
    arguments, sys.argv = sys.argv, [str(file)]
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            yield
    except SystemExit as stop:
        said = stop.code if isinstance(stop.code, str) else output.last
        raise UserCodeError(f"it ends the program: {_first_line(said) or stop.code}") from stop
    except FftuneError:
        raise
    except Exception as error:  # whatever the user's code raises
        reason = _first_line(str(error)) or "no message"
        raise UserCodeError(f"{type(error).__name__}: {reason}") from error
    finally:
        sys.argv = arguments


def _is_of_ray(stop: SystemExit) -> bool:
    """A process on Ray that is asked to end raises it too, from Ray's own handler of signals."""
    module, trace = "", stop.__traceback__
    while trace is not None:
        module, trace = trace.tb_frame.f_globals.get("__name__", ""), trace.tb_next
    return module.partition(".")[0] == "ray"


class _Aside:
    """Passes on to stderr what is printed, up to a usage text, which is not of our command."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._usage = False
        self.last = ""

    def write(self, text: str) -> int:
        self._usage = self._usage or text.lstrip().lower().startswith("usage:")
        self.last = next((line for line in reversed(text.splitlines()) if line.strip()), self.last)
        if not self._usage:
            self._stream.write(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _local_modules() -> dict[str, ModuleType]:
    """Modules that are neither ours nor installed."""
    return {
        name: module
        for name, module in list(sys.modules.items())
        if name != "__main__" and _is_local_file(_file(module))
    }


@cache
def _is_local_file(file: str) -> bool:
    """Tell it of a path with links. There are thousands of modules, all looked at every time."""
    return bool(file) and _is_local(Path(file).resolve())


def _is_local(place: Path | None) -> bool:
    if place is None or any(part in INSTALLED for part in place.parts):
        return False
    return not any(_lies_in(place, folder) for folder in (OURS, *STDLIB))


def _place(module: ModuleType) -> Path | None:
    """The module's file, or its folder where it is a package without one."""
    found = _file(module)
    return Path(found).resolve() if found else None


def _file(module: ModuleType) -> str:
    found = getattr(module, "__file__", None)
    if not isinstance(found, str):
        found = next(iter(getattr(module, "__path__", None) or ()), None)
    return found if isinstance(found, str) else ""


def _lies_in(place: Path | None, folder: Path) -> bool:
    return place is not None and place.is_relative_to(folder)


def _digest(module: ModuleType) -> str:
    place = _place(module)
    try:
        return hashlib.sha256(place.read_bytes()).hexdigest() if place else ""
    except OSError:  # a folder, or a file that is gone
        return ""


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
