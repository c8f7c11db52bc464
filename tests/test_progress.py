"""What is shown of long work, and when: by a clock and on a terminal of the tests' own."""

import io
import logging
import re
from collections.abc import Callable, Iterator
from math import isnan, nan

import pytest

from fftune.progress import EVERY, Bars, Lines, LogHandler, Progress, duration, show_on


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def said(clock: Clock, caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """The lines of a log so far."""
    before = show_on(Lines(clock))
    caplog.set_level(logging.INFO, "fftune.progress")
    yield lambda: caplog.messages
    show_on(before)


def test_a_log_begins_dense_and_has_a_line_every_half_minute_later_on(clock, said) -> None:
    with Progress("net", unit="steps", total=100) as progress:
        assert said() == ["net: 0 of 100 steps"]
        for step in range(1, 101):
            clock.now += 0.65
            progress.update(step, note=f"loss {step}")
    assert said() == [
        "net: 0 of 100 steps",
        "net: 8 of 100 steps, 1.54 steps/s, 1 min 0 s left; loss 8",
        "net: 24 of 100 steps, 1.54 steps/s, 49 s left; loss 24",
        "net: 55 of 100 steps, 1.54 steps/s, 29 s left; loss 55",
        "net: 100 of 100 steps in 1 min 5 s; loss 100",
    ]


def test_a_moment_needs_no_end_and_a_failure_has_none(clock, said) -> None:
    with Progress("net", unit="steps", total=2) as progress:
        clock.now += 0.9
        progress.update(2)
    with pytest.raises(ValueError), Progress("bad", unit="steps", total=2):
        clock.now += 9
        raise ValueError
    assert said() == ["net: 0 of 2 steps", "bad: 0 of 2 steps"]


def test_what_was_done_before_does_not_count_in_the_rate(clock, said) -> None:
    with Progress("net", unit="steps", total=100, done=80) as progress:
        clock.now += EVERY
        progress.update(90)
    assert said() == [
        "net: 80 of 100 steps",
        "net: 90 of 100 steps, 3 s each, 30 s left",
        "net: 90 of 100 steps in 30 s",
    ]


def test_the_time_left_shrinks_while_a_unit_is_in_work(clock, said) -> None:
    with Progress("study", unit="trials", total=4) as progress:
        clock.now += 10
        progress.update(1)
        assert (progress.rate, progress.left) == (0.1, 30)
        clock.now += 6
        progress.update(1)
        assert (progress.rate, progress.left) == (0.1, 24)
        clock.now += 60
        assert (progress.rate, progress.left) == (0.1, 0)


def test_work_that_is_asked_for_later_and_known_already(clock, said) -> None:
    with Progress("net", unit="blocks") as progress:
        assert said() == []
        progress.add(30, known=5)
        clock.now += 10
        progress.update(10)
        assert (progress.rate, progress.left) == (0.5, 40)
        progress.add(10, known=10)
        assert (progress.rate, progress.left) == (0.5, 40)
    assert said() == [
        "net: 5 of 30 blocks",
        "net: 10 of 30 blocks, 2 s each, 40 s left",
        "net: 20 of 40 blocks in 10 s",
    ]


def test_seconds_left_that_are_known_better_than_by_the_rate(clock, said) -> None:
    with Progress("net", unit="blocks", total=10) as progress:
        clock.now += 10
        progress.update(5, left=nan)
        assert isnan(progress.left) and "left" not in str(progress)
        progress.update(left=90)
        assert progress.left == 90 and progress.fraction == 0.1
        clock.now += 20
        assert progress.left == 70 and str(progress).endswith("1 min 10 s left")
        clock.now += 200
        assert progress.left == 0


def test_nine_nets_show_the_time_left_of_all(clock, said) -> None:
    """Two nets took a minute each, the third is half done: 6.5 of 9 minutes are left."""
    with Progress("study", unit="nets", total=9, fractions=True) as nets:
        for at in range(2):
            with Progress(f"net {at}", unit="blocks", total=4) as blocks:
                clock.now += 60
                blocks.update(4)
            nets.update(at + 1)
        with Progress("net 2", unit="blocks", total=4) as blocks:
            clock.now += 30
            blocks.update(2)
            assert nets.left == 6.5 * 60
    assert said() == [
        "study: 0 of 9 nets",
        "study: 0 of 9 nets, 60 s each, 8 min 0 s left | net 0: 4 of 4 blocks, 15 s each",
        "study: 1 of 9 nets, 60 s each, 7 min 0 s left | net 1: 4 of 4 blocks, 15 s each",
        "study: 2 of 9 nets, 60 s each, 6 min 30 s left | "
        "net 2: 2 of 4 blocks, 15 s each, 30 s left",
        "study: 2 of 9 nets in 2 min 30 s",
    ]


def test_a_generator_that_is_closed_late_ends_its_own_work(clock, said) -> None:
    def trained() -> Iterator[int]:
        with Progress("trial 1", unit="steps", total=2):
            yield 1

    with Progress("study", unit="trials", total=2) as study:
        abandoned = trained()
        next(abandoned)
        with Progress("trial 2", unit="steps", total=2):
            abandoned.close()
            clock.now += EVERY
            study.update(1)
    assert said() == [
        "study: 0 of 2 trials",
        "study: 1 of 2 trials, 30 s each, 30 s left | trial 2: 0 of 2 steps",
        "study: 1 of 2 trials in 30 s",
    ]


def test_nothing_is_shown_of_work_that_has_not_begun(said) -> None:
    Progress("net", unit="steps", total=2).update(1)
    assert said() == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (125, "2 min 5 s"),
        (3599.6, "1 h 0 min"),
        (12000, "3 h 20 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


class Terminal(io.StringIO):
    """A terminal of 60 columns; `screen` is what stands on it."""

    def isatty(self) -> bool:
        return True

    @property
    def screen(self) -> list[str]:
        lines, row = [""], 0
        for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", self.getvalue()):
            if token == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            elif token == "\r":
                pass  # each line is written, or erased, as a whole
            elif token == "\x1b[2K":
                lines[row] = ""
            elif moved := re.fullmatch(r"\x1b\[(\d*)A", token):
                row -= int(moved[1] or 1)
            elif not token.startswith("\x1b"):
                lines[row] += token
        return [line.rstrip() for line in lines if line.strip()]


@pytest.fixture
def terminal(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    screen = Terminal()
    before = show_on(Bars(screen, clock))
    yield screen
    show_on(before)


def test_bars_stand_below_each_other_and_below_the_log(clock, terminal) -> None:
    handler, log = LogHandler(), logging.getLogger("a.log.of.this.test")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    with Progress("study", unit="trials", total=4, fractions=True) as study:
        with Progress("lam=6", unit="steps", total=10) as steps:
            clock.now += 10
            steps.update(5, note="loss 0.25, accuracy 0.9")
            bars = [
                "study: 0 of 4 trials, 20 s each, 1 min 10 …",
                "lam=6: 5 of 10 steps, 2 s each, 10 s left;…",
            ]
            assert [line[17:] for line in terminal.screen] == bars
            drawn = ["━━╺━━━━━━━━━━━━━ ", "━━━━━━━━╺━━━━━━━ "]  # an eighth, and a half
            assert [line[:17] for line in terminal.screen] == drawn
            log.info("a line that is longer than the sixty columns of this terminal, and whole")
            assert terminal.screen[0].startswith("a line that is longer than the sixty")
            assert [line[17:] for line in terminal.screen[-2:]] == bars
            clock.now += 0.1
            steps.update(6)
            assert "5 of 10 steps" in terminal.screen[-1]  # not yet due
            clock.now += 0.5
            steps.update(7)
            assert "7 of 10 steps" in terminal.screen[-1]
        study.update(1)
    log.removeHandler(handler)
    assert terminal.screen == [
        "a line that is longer than the sixty columns of this terminal, and whole"
    ]


def test_a_broken_work_gives_the_terminal_back(terminal) -> None:
    with pytest.raises(KeyboardInterrupt), Progress("net", unit="steps", total=4):
        raise KeyboardInterrupt
    assert terminal.screen == [] and terminal.getvalue().count("\x1b[?25h") == 1
