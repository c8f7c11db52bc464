"""The edge: every kind of error is one line with its exit code, and defects leave a traceback."""

import errno
import gc
import io
import json
import os
import pickle
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fftune.cli.edge import ended, leave
from fftune.cli.streams import PIPE_CLOSED
from fftune.errors import ConfigError, DivergedError, StudyError

ROOT = Path(__file__).parents[2]


class RemoteError(Exception):
    """An error of a task on Ray, which holds what was raised there."""

    def __init__(self, cause: Exception) -> None:
        super().__init__("Traceback (most recent call last):\n  ...")
        self.cause = cause


def of(module: str) -> type[Exception]:
    """A class of errors of a library."""
    return type("SomeError", (Exception,), {"__module__": module})


KINDS = {
    "user's": (ConfigError("lam must be >= 0"), 2, "lam must be >= 0"),
    "diverged": (DivergedError("loss is nan"), 1, "loss is nan"),
    "on Ray": (RemoteError(StudyError("study 'a' exists")), 2, "study 'a' exists"),
    "lines": (ConfigError("a\nb\x1b[2J"), 2, r"a; b\x1b[2J"),
    "password": (ConfigError("postgresql://me:s3cret@host/x"), 2, "postgresql://me:***@host/x"),
    "no room": (
        OSError(errno.ENOSPC, "No space left on device", "/x/y"),
        2,
        "'/x/y': No space left on device; free space on its disk",
    ),
    "forbidden": (PermissionError(errno.EACCES, "Permission denied", "/x"), 2, "'/x': Permission"),
    "files": (OSError(errno.EMFILE, "Too many open files"), 2, "the operating system: Too many"),
    "network": (ConnectionRefusedError(111, "Connection refused"), 2, "the network: Connection"),
    "memory": (MemoryError(), 2, "out of memory"),
    "recursion": (RecursionError("maximum depth"), 2, "a file or a net is nested too deeply"),
    "text": (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), 2, "a text is not UTF-8"),
    "JSON": (json.JSONDecodeError("bad", "x", 0), 2, "a JSON file is damaged"),
    "pickle": (pickle.UnpicklingError("bad"), 2, "a file is damaged"),
    "sqlite": (sqlite3.OperationalError("database is locked"), 2, "a database failed: Operational"),
    "MLflow": (of("mlflow.exceptions")("no run"), 2, "MLflow failed: SomeError: no run"),
    "SQL": (of("mlflow.exceptions")("full\n[SQL: x]"), 2, "MLflow failed: SomeError: full\n"),
    "SQLAlchemy": (of("sqlalchemy.exc")("gone"), 2, "a database failed"),
    "Ray": (of("ray.exceptions")("actor died"), 2, "Ray failed"),
    "gRPC": (of("grpc._channel")("unavailable"), 2, "Ray failed"),
    "Arrow": (of("pyarrow.lib")("bad page"), 2, "a Parquet file failed"),
    "library": (ModuleNotFoundError("No module named 'tyro'", name="tyro"), 2, "the installation"),
    "exits": (SystemExit("out"), 1, "out"),
    "defect": (ZeroDivisionError("by zero"), 1, "a defect of fftune: ZeroDivisionError: by zero"),
}


def raised(error: BaseException) -> None:
    """Raise an error in code that is not the user's: this file would else be a user's."""
    code = compile("raise error", "<made>", "exec")
    exec(code, {"error": error})


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("fftune.user_code.INSTALLED", (*("tests", "site-packages"),))
    return tmp_path / "state"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_error_is_one_line(kind: str, capsys) -> None:
    error, code, line = KINDS[kind]
    assert ended(lambda: raised(error)) == code
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith(f"fftune: {line}") and said.err.count("\n") == 1


def test_the_traceback_of_a_defect_is_kept_where_only_the_user_reads(state: Path, capsys) -> None:
    before = os.umask(0)
    try:
        assert ended(lambda: raised(ZeroDivisionError("at postgresql://me:s3cret@host"))) == 1
    finally:
        os.umask(before)
    (path,) = (state / "fftune/tracebacks").iterdir()
    assert repr(str(path)) in capsys.readouterr().err
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text(encoding="utf-8")
    assert text.startswith("fftune ") and "in raised" in text and "s3cret" not in text


def test_tracebacks_do_not_pile_up(state: Path, capsys) -> None:
    for _ in range(25):
        assert ended(lambda: raised(ZeroDivisionError())) == 1
    assert len([*(state / "fftune/tracebacks").iterdir()]) == 20


def test_somebody_elses_folder_is_not_written(state: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "other").mkdir()
    (state / "fftune").mkdir(parents=True)
    (state / "fftune/tracebacks").symlink_to(tmp_path / "other")
    assert ended(lambda: raised(ZeroDivisionError())) == 1
    assert not [*(tmp_path / "other").iterdir()]
    assert "fftune-traceback-" in capsys.readouterr().err


def test_what_was_imported_is_not_looked_through_at_the_end(monkeypatch) -> None:
    """Python collects its garbage as it ends, which takes a second where torch was imported."""
    frozen: list[bool] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(True))
    with pytest.raises(SystemExit):
        leave(lambda: None)
    assert frozen == [True]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_an_interruption(number: int, capsys) -> None:
    before = signal.getsignal(number)
    assert ended(lambda: signal.raise_signal(number), "go on with --resume") == 130
    assert capsys.readouterr().err == "fftune: interrupted; go on with --resume\n"
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(
    "body", ["1 / 0", "raise SystemExit(0)", "raise KeyboardInterrupt", "f()", "quit()"]
)
def test_what_a_users_file_raises_is_the_users(body: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "theirs.py").write_text(f"def f():\n    {body}\n")
    found: dict[str, object] = {}
    path = tmp_path / "theirs.py"
    exec(compile(path.read_text(), str(path), "exec"), found)
    assert ended(found["f"]) == 2  # type: ignore[arg-type]
    said = capsys.readouterr().err
    assert said.startswith("fftune: theirs.py, line 2: ") and said.count("\n") == 1


SHELL = {
    "full": ("{} --help > /dev/full", 2, "fftune: stdout cannot be written: No space left"),
    "no stdout": ("{} --help >&-", 0, ""),
    "no stderr": ("{} swep 2>&-", 2, ""),
    "full stderr": ("{} swep 2>/dev/full", 2, ""),
    "ASCII": ("PYTHONIOENCODING=ascii {} 'swepλ'", 2, r"fftune: unknown verb 'swep\u03bb'"),
    "C": ("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {} 'swepλ'", 2, "fftune: unknown verb"),
    "no home": ("env -u HOME {} swep", 2, "fftune: unknown verb"),
}


@pytest.mark.parametrize("kind", SHELL)
def test_terminals_pipes_and_disks(kind: str) -> None:
    command, code, line = SHELL[kind]
    program = f"'{sys.executable}' -m fftune"
    shell = ["bash", "-o", "pipefail", "-c", command.format(program)]
    done = subprocess.run(shell, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(line) and done.stderr.count("\n") == bool(line)


@pytest.mark.parametrize("ask", ["write('x')", "flush()", "isatty() or print('result')"])
def test_a_stream_that_a_net_has_closed_is_one_line(ask: str) -> None:
    program = (
        "import sys; from fftune.cli.edge import leave\n"
        f"def work(): sys.stdout.close(); sys.stdout.{ask}\n"
        "leave(work)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    told = "fftune: a net, or a library, has closed stdout: its results are not shown\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", told)


@pytest.mark.parametrize("verdict", [0, 3, 4])
def test_results_that_a_net_has_hidden_are_no_success(verdict: int, capfd) -> None:
    """As people hide what a library prints, and forget to take it back."""

    def work() -> None:
        sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
        print("result")
        sys.exit(verdict)

    assert ended(work) == 2
    told = "fftune: a net, or a library, has replaced stdout: its results are not shown\n"
    assert capfd.readouterr() == ("", told)


def test_a_closed_pipe_ends_a_command_in_silence() -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as `head -1` does once it has its line
    command = [sys.executable, "-m", "fftune", "--help"]
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (PIPE_CLOSED, "")
