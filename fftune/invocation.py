"""Commands as the user can type them again: the way this process was started, and programs beside.

A virtual environment need not be active: what `.venv/bin/python -m fftune.sweep` began is told to
go on by `.venv/bin/python -m fftune.report`, and MLflow by `.venv/bin/mlflow`.
"""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

_SPOKEN = re.compile(r"`fftune (?=[a-z])")


def typed(verb: str, *words: str) -> str:
    """A command of fftune as it is typed, its words quoted for a shell.

    Args:
        verb: a verb, as in `report`; empty for the command itself.
        words: what follows it.
    """
    if _by_module(sys.orig_argv, whole=True):
        return shlex.join([*_runner(), *_python(), "-m", "fftune", *filter(None, [verb]), *words])
    if _by_module(sys.orig_argv, whole=False) or not program("fftune"):
        module = f"fftune.{verb}" if verb else "fftune"
        return shlex.join([*_runner(), *_python(), "-m", module, *words])
    return command_of("fftune", *filter(None, [verb]), *words)


def spoken(verb: str, *words: str) -> str:
    """A command for reading, as in a usage: `python -m fftune.report`, wherever Python lies."""
    argv = sys.orig_argv
    if _by_module(argv, whole=False):
        return " ".join((f"python -m fftune.{verb}" if verb else "python -m fftune", *words))
    program_name = "python -m fftune" if _by_module(argv, whole=True) else "fftune"
    return " ".join(filter(None, (program_name, verb, *words)))


def command_of(name: str, *words: str) -> str:
    """A command of a program of this environment, as in `mlflow ui`, quoted for a shell."""
    return shlex.join([*_runner(), program(name) or name, *words])


def program(name: str) -> str:
    """A program of this environment as it is typed: its name where `PATH` finds it, else its path.

    Returns:
        The word, unquoted; empty where this environment has none of that name.
    """
    if not os.path.exists(_home() / name):  # of pathlib's kind, it would raise in a closed folder
        return ""
    return name if _is_ours(shutil.which(name)) else str(_home() / name)


def as_typed(text: str) -> str:
    """A text whose commands, as in "`fftune data list`", are as this user types them."""
    return _SPOKEN.sub(lambda _: f"`{typed('')} ", text)


def _by_module(argv: list[str], *, whole: bool) -> bool:
    """This process began as `python -m fftune VERB`, if whole, else as `python -m fftune.VERB`."""
    module = argv[argv.index("-m") + 1] if "-m" in argv[:-1] else ""
    if whole:
        return module in ("fftune", "fftune.cli")
    return module.startswith("fftune.") and module != "fftune.cli"


def _python() -> list[str]:
    """The interpreter as it was typed, where that still finds it."""
    word = sys.orig_argv[0]
    return [word if _is_ours(shutil.which(word)) else str(_home() / Path(sys.executable).name)]


def _home() -> Path:
    """The folder of this environment's programs, as it was typed where it was."""
    for word in sys.orig_argv[:2]:
        typed_folder = Path(word).parent
        if os.sep in word and not typed_folder.is_absolute() and _is_ours(word):
            return typed_folder
    folder = Path(sys.executable).parent
    try:
        return folder.relative_to(Path.cwd())
    except (ValueError, OSError):
        return folder


def _runner() -> list[str]:
    """`uv run`, if that made the environment of this process alone."""
    return ["uv", "run"] if "UV_RUN_RECURSION_DEPTH" in os.environ else []


def _is_ours(found: str | None) -> bool:
    """A program lies in this environment: that of another is often a link to the same file."""
    try:
        return found is not None and os.path.samefile(
            Path(found).parent, Path(sys.executable).parent
        )
    except OSError:  # it is gone, or lies where this user may not look
        return False
