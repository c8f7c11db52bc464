"""Programs in children of the test's process, where libraries are imported already."""

import multiprocessing
import os
import runpy
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

PROCESSES = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Ended:
    """Exit code of a child, and what it wrote; -9 where SIGKILL ended it."""

    returncode: int
    stdout: str
    stderr: str


def forked(program: Callable[[], object]) -> Ended:
    """Run a function in a child to its end, with exit codes as an interpreter gives them."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            os._exit(_perform(program, out.fileno(), err.fileno()))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return Ended(code, *texts)


def module(name: str, *arguments: str) -> Ended:
    """`python -m NAME ARGUMENTS`."""
    return forked(lambda: _run(runpy.run_module, name, (name, *arguments)))


def script(path: Path, *arguments: str) -> Ended:
    """`python PATH ARGUMENTS`."""

    def program() -> None:
        sys.path.insert(0, str(path.parent))
        _run(runpy.run_path, str(path), (str(path), *arguments))

    return forked(program)


def _run(how: Callable[..., object], what: str, arguments: Sequence[str]) -> None:
    sys.argv[:] = arguments
    how(what, run_name="__main__")


def _perform(program: Callable[[], object], out: int, err: int) -> int:
    """Exit code of a program whose standard streams are these files."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    code: object = 0
    try:
        program()
    except SystemExit as stop:
        code = stop.code
    except BaseException:  # noqa: BLE001 - as an interpreter does
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return int(code or 0)  # type: ignore[call-overload]
