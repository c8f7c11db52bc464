"""Every mistake reads the same on a terminal, whatever it can draw, as through a pipe."""

import contextlib
import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

MISTAKES = {
    "unknown flag": (
        ["sweep", "thrm", "--trails", "3"],
        "unknown flag --trails; did you mean --trials?",
    ),
    "wrong value": (["sweep", "thrm", "--trials", "many"], "trials must be a whole number, got"),
    "wrong choice": (
        ["sweep", "thrm", "--backend", "inlin"],
        "backend must be one of inline, ray, got 'inlin'; did you mean 'inline'?",
    ),
    "out of range": (
        ["sweep", "thrm", "--base.attack.threat.eps", "2"],
        "base.attack.threat.eps must be <= 1 for linf, as pixels lie in [0, 1], got 2.0",
    ),
    "a fraction that is none": (
        ["sweep", "thrm", "--base.attack.threat.eps", "8/0"],
        "base.attack.threat.eps must be a number, or a fraction as in 8/255, got '8/0'",
    ),
    "unknown verb": (["swep"], "unknown verb 'swep'; did you mean 'sweep'?"),
    "unknown recipe": (["train", "thrmm"], "recipe 'thrmm'"),
    "level": (
        ["train", "thrm", "--log-level", "inf"],
        "log-level must be one of debug, info, warning, error, got 'inf'; did you mean 'info'?",
    ),
    "quiet and loud": (["train", "--quiet", "--log-level=debug"], "quiet contradicts log-level"),
}
ALL = """
import sys
from fftune.cli import main
for line in sys.stdin.read().split("\\0"):
    sys.argv = ["fftune", *line.split()]
    try: main()
    except SystemExit as stop: print("exit code", stop.code, file=sys.stderr)
"""
"""A program that makes all mistakes, one after the other: to start one costs a second."""

TERMINALS = [
    {"TERM": "xterm-256color"},
    {"TERM": "xterm-256color", "COLUMNS": "40"},
    {"TERM": "dumb"},
    {"TERM": "xterm", "NO_COLOR": "1"},
    {"TERM": "xterm", "FORCE_COLOR": "1"},
]


def on_terminal(
    command: list[str], *, columns: int = 80, stdin: str = "", **environment: str
) -> tuple[int, str, str]:
    """Exit code, what a terminal was sent as stderr, and what a pipe got as stdout."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    child = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=kept | environment,
        text=True,
    )
    os.close(theirs)
    assert child.stdin and child.stdout
    child.stdin.write(stdin)
    child.stdin.close()
    said = b""
    with contextlib.suppress(OSError):  # how Linux says that the other side is closed
        while chunk := os.read(ours, 1 << 16):
            said += chunk
    os.close(ours)
    return child.wait(), said.decode().replace("\r\n", "\n"), child.stdout.read()


@pytest.fixture(scope="module")
def piped() -> str:
    """What stderr gets of all mistakes where it is a pipe."""
    words = "\0".join(" ".join(arguments) for arguments, _ in MISTAKES.values())
    command = [sys.executable, "-c", ALL]
    done = subprocess.run(command, cwd=ROOT, input=words, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    return done.stderr


def test_every_mistake_is_one_line(piped: str) -> None:
    lines = piped.splitlines()
    assert lines[1::2] == ["exit code 2"] * len(MISTAKES)
    for line, (_, message) in zip(lines[::2], MISTAKES.values(), strict=True):
        assert line.startswith(f"fftune: {message}")


@pytest.mark.some(2)
@pytest.mark.parametrize("terminal", TERMINALS, ids=lambda t: " ".join(f"{k}={t[k]}" for k in t))
def test_a_terminal_shows_the_same_lines_as_a_pipe(terminal: dict[str, str], piped: str) -> None:
    words = "\0".join(" ".join(arguments) for arguments, _ in MISTAKES.values())
    columns = int(terminal.get("COLUMNS", 80))
    code, said, results = on_terminal(["-c", ALL], stdin=words, columns=columns, **terminal)
    assert (code, said, results) == (0, piped, "")


WORK = """
import logging, sys
from fftune.cli.options import run
from fftune.progress import Progress

def work(arguments):
    with Progress("digits", unit="images", total=3) as progress:
        for done in range(3):
            progress.update(done + 1)
            logging.getLogger("fftune.work").warning("image %d is strange", done)
    print("result")

run(work, sys.argv[1:])
"""


def test_work_draws_bars_on_a_terminal_below_its_log() -> None:
    code, said, results = on_terminal(["-c", WORK], TERM="xterm")
    assert (code, results) == (0, "result\n")
    assert " digits: 0 of 3 images" in CODES.sub("", said) and "━" in said
    assert said.count("\x1b[?25l") == said.count("\x1b[?25h") == 1  # the cursor comes back
    assert [f"image {i} is strange" in said for i in range(3)] == [True] * 3


def test_quiet_work_only_warns() -> None:
    code, said, results = on_terminal(["-c", WORK, "--quiet"], TERM="xterm")
    assert (code, results) == (0, "result\n")
    assert [line[9:] for line in said.splitlines()] == [f"image {i} is strange" for i in range(3)]


def test_a_dumb_terminal_gets_lines() -> None:
    code, said, results = on_terminal(["-c", WORK], TERM="dumb")
    assert (code, results) == (0, "result\n") and not CODES.search(said)
    assert said.splitlines()[0][9:] == "digits: 0 of 3 images"
    assert len(said.splitlines()) == 4
