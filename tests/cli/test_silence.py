"""A command that waits says so: by a clock of the tests' own, and by a pipe that somebody reads."""

import io
import logging
import os
import sys
from collections.abc import Iterator
from itertools import pairwise

import pytest

from fftune.cli import silence
from fftune.cli.silence import LONGEST, LOOK, Watcher, broken
from fftune.progress import Bars, Lines, LogHandler, Progress, show_on


class Command:
    """A command whose clock, log and stream a test moves."""

    def __init__(self) -> None:
        self.now, self.wrote, self.last = 1000.0, 0.0, ""
        self.lines: list[tuple[float, str]] = []
        self.watcher = Watcher(
            write=lambda line: self.lines.append((self.now - 1000, line)),
            written=lambda: self.wrote,
            last=lambda: self.last,
            clock=lambda: self.now,
        )

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds / LOOK)):
            self.now += LOOK
            self.watcher.look()

    def log(self, message: str) -> None:
        self.last, self.wrote = message, self.now


@pytest.fixture
def command() -> Iterator[Command]:
    one = Command()
    before = show_on(Lines(lambda: one.now))
    yield one
    show_on(before)


def test_no_pause_is_longer_than_five_seconds(command) -> None:
    assert LONGEST + 2 * LOOK <= 5
    command.wait(3)
    command.log("loading libraries\nand more")
    command.wait(7200)
    times = [time for time, _ in command.lines]
    assert times[0] == 7 and times[-1] > 7195
    assert {b - a for a, b in pairwise(times)} == {LONGEST}
    assert command.lines[0][1] == "4 s after: loading libraries"
    assert command.lines[-1][1] == "2 h 0 min after: loading libraries"


def test_a_stalled_job_says_what_it_is_at_and_since_when(command) -> None:
    with Progress("net", unit="blocks", total=10) as blocks:
        command.wait(2)
        blocks.update(1)
        command.wait(34)
    assert command.lines[0] == (4, "net: 1 of 10 blocks, 2 s each, 16 s left")
    assert command.lines[-1][1].endswith("0 s left; the last was 34 s ago")


def test_what_speaks_by_itself_is_left_alone(command) -> None:
    for _ in range(20):
        command.wait(3.5)
        command.log("a line")
    assert command.lines == []


def test_before_any_line_it_has_started(command) -> None:
    command.wait(4)
    assert command.lines == [(4, "4 s after: start")]


def test_bars_on_a_terminal_say_it_already(command) -> None:
    show_on(Bars(io.StringIO(), lambda: command.now))
    command.wait(5)
    assert len(command.lines) == 1
    with Progress("net", unit="blocks", total=10):
        command.wait(60)
    assert len(command.lines) == 1


def test_one_call_that_does_not_return_is_no_silence(monkeypatch, caplog) -> None:
    monkeypatch.setattr(silence, "LONGEST", 0.0)
    monkeypatch.setattr(silence, "LOOK", 0.01)
    monkeypatch.setenv("SOME_PASSWORD", "correct-horse")
    caplog.set_level(logging.INFO, "fftune")
    handler = LogHandler()
    handler.last = "asking correct-horse"
    reads, writes = os.pipe()
    with open(reads, encoding="utf-8") as said, open(writes, "w", encoding="utf-8") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        with broken(handler):
            line = said.readline()  # waits for the thread
    assert line.partition(" ")[2] == "0 s after: asking ***\n"


def test_who_asked_for_quiet_has_it(monkeypatch, caplog) -> None:
    caplog.set_level(logging.WARNING, "fftune")
    monkeypatch.setattr(silence, "Thread", None)  # would be called
    with broken(LogHandler()):
        pass
