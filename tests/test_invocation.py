"""Commands that fftune prints run as they are typed, whether or not the environment is active."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fftune.cli.flags import flags_of
from fftune.cli.help_page import EVERY_FLAG
from fftune.cli.verbs import VERBS
from fftune.invocation import as_typed, command_of, typed
from tests.cli.commands import COMMANDS
from tests.source_tree import PACKAGE

BIN = Path(sys.executable).parent
ELSEWHERE = "/usr/bin:/bin"
STARTED = {
    "script by its path": ([sys.executable, f"{BIN}/fftune", "train"], "{bin}/fftune report"),
    "module of a verb": ([sys.executable, "-m", "fftune.train"], "{python} -m fftune.report"),
    "module with a verb": ([sys.executable, "-m", "fftune", "train"], "{python} -m fftune report"),
    "module of the command line": ([sys.executable, "-m", "fftune.cli"], "{python} -m fftune repo"),
    "a notebook": (["/usr/bin/jupyter", "kernel"], "{bin}/fftune report"),
}


@pytest.mark.parametrize("how", STARTED)
def test_a_command_goes_on_as_it_was_started(how: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    argv, expected = STARTED[how]
    monkeypatch.setattr(sys, "orig_argv", argv)
    monkeypatch.setenv("PATH", ELSEWHERE)
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    command = typed("report", "a b", "it's")
    assert command.startswith(expected.format(bin=BIN, python=sys.executable))
    assert shlex.split(command)[-2:] == ["a b", "it's"]
    assert os.access(shlex.split(command)[0], os.X_OK)
    assert as_typed("see `fftune data list`").endswith("data list`")
    served = shlex.split(command_of("mlflow", "ui", "--backend-store-uri", "sqlite:////a b"))
    assert served[0] == f"{BIN}/mlflow" and served[-1] == "sqlite:////a b"


def test_an_active_environment_needs_no_paths(monkeypatch) -> None:
    monkeypatch.setenv("PATH", f"{BIN}:{ELSEWHERE}")
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, f"{BIN}/fftune", "sweep"])
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    assert typed("report", "a") == "fftune report a"
    assert [command_of(name) for name in ("mlflow", "optuna", "ray")] == ["mlflow", "optuna", "ray"]
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "fftune.sweep"])
    assert shutil.which("python") == f"{BIN}/python" and typed("view") == "python -m fftune.view"
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    assert typed("view") == "uv run python -m fftune.view"


def test_a_program_of_another_environment_is_not_ours(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("fftune", "mlflow", "python"):
        (tmp_path / name).symlink_to(BIN / name)
    monkeypatch.setenv("PATH", f"{tmp_path}:{ELSEWHERE}")
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "fftune.sweep"])
    assert command_of("mlflow") == f"{BIN}/mlflow"
    assert typed("view").startswith(str(BIN))


@pytest.mark.parametrize("word", ["closed/python", "{tmp}/closed/python", "gone/python"])
def test_a_command_is_told_where_its_interpreter_may_not_be_seen(
    word: str, tmp_path, monkeypatch
) -> None:
    """The words of an error are no error, whatever happened to the environment meanwhile."""
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed/python").symlink_to(sys.executable)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "orig_argv", [word.format(tmp=tmp_path), "-m", "fftune.sweep"])

    def closed(path, *_args, **_named):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "stat", closed)  # as for another user: root may look everywhere
    assert shlex.split(typed("view"))[-1] == "fftune.view"
    assert as_typed("see `fftune data list`").endswith("data list`")
    assert shlex.split(command_of("mlflow", "ui"))[-1] == "ui"


def test_what_is_printed_first_runs_in_a_shell(tmp_path) -> None:
    """Every command of `fftune`'s own help, from a folder where nothing is active."""
    said = subprocess.run(
        [sys.executable, "-m", "fftune", "--help"],
        cwd=tmp_path,
        env=os.environ | {"PATH": ELSEWHERE},
        capture_output=True,
        text=True,
    ).stdout
    commands = re.findall(r"^  (\S.* -m fftune .+)$", said, re.MULTILINE)
    assert len(commands) == 3
    script = "\n".join(f"{command} --help" for command in commands)
    done = subprocess.run(
        ["bash", "-ec", script],
        cwd=tmp_path,
        env=os.environ | {"PATH": ELSEWHERE, "FFTUNE_STORAGE": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert "no checkpoint, run or study 'first'" in done.stderr  # which the command before makes
    assert done.stdout.count("usage: ") == 2


SPOKEN = re.compile(r"`fftune ([a-z]+)([^`]*)`")


def test_commands_in_messages_have_verbs_and_flags_that_there_are() -> None:
    names: dict[str, set[str]] = {}
    for command, (cls, default, manual) in COMMANDS.items():
        known = {name for flag in flags_of(cls, default, manual.short) for name in flag.names}
        names.setdefault(command.split()[0], set()).update(known, EVERY_FLAG)
    found = 0
    for path in sorted(PACKAGE.rglob("*.py")):
        text = re.sub(r'"\s*\n\s*f?"', "", path.read_text())  # strings over several lines
        for verb, rest in SPOKEN.findall(text):
            flags = set(re.findall(r"(?<![\w])--[\w.-]+", rest))
            assert verb in VERBS, (path.name, verb)
            assert flags <= names[verb], (path.name, verb, flags - names[verb])
            found += 1
    assert found > 10
