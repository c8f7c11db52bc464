"""Progress of long work: live bars on a terminal, a line now and then in the log of a job.

Code that works tells how far it is (`Progress`); a process chooses once how that is shown
(`show_on`). Where nobody chooses, as in libraries and Ray workers, it is logged at level INFO.
"""

import logging
import os
import sys
import time
from collections.abc import Callable
from math import inf, isfinite, nan
from typing import TYPE_CHECKING, TextIO

from fftune.secrets import redacted

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

log = logging.getLogger(__name__)

FIRST, EVERY = 5.0, 30.0
"""Seconds before the second line of a log, and most seconds between two: they double meanwhile."""
REDRAW = 0.5
"""Seconds between two drawings of the bars."""
MOMENT = 1.0
"""Seconds; the end of work that took less is not logged."""
Clock = Callable[[], float]


class Progress:
    """Counted work in a `with` block: units done of a total, their rate, and the time left.

    Works may be nested, as trainings are in a study; all of them are shown, the outermost first.
    """

    def __init__(
        self, name: str, *, unit: str, total: int = 0, done: int = 0, fractions: bool = False
    ) -> None:
        """Describe the work.

        Args:
            name: of the work, as in "thrm-tiny".
            unit: what is counted, a plural: "steps".
            total: units in all; 0 while that is unknown, see `add`.
            done: units that were done before, which do not count in the rate.
            fractions: count nested work as that fraction of one unit which it has done.
        """
        self.name, self.unit, self.total, self.note = name, unit, total, ""
        self._done, self._fractions = done, fractions
        self._began, self._counted, self._before = 0.0, 0.0, done
        self._end: float | None = None  # time of the end, if known better than by the rate

    def __enter__(self) -> "Progress":
        self._began = self._counted = _shown.clock()
        self._before = self.done
        _active.append(self)
        if self.total:
            _shown.begin(self)
        return self

    def __exit__(self, error: object, *_details: object) -> None:
        _active.remove(self)  # not always the last: a generator may be closed late
        if error is None and not _active and self.elapsed >= MOMENT:
            note = f"; {self.note}" if self.note else ""
            done = f"{self.done:,} of {self.total:,} {self.unit}"
            log.info("%s: %s in %s%s", self.name, done, duration(self.elapsed), note)
        _shown.end()

    @property
    def done(self) -> int:
        """Units done, those done before included."""
        return self._done

    @done.setter
    def done(self, units: int) -> None:
        self._done, self._counted = units, _shown.clock()

    @property
    def due(self) -> bool:
        """True if news would be shown at once: to gather them may make a device wait."""
        return _shown.due()

    def add(self, units: int, *, known: int = 0) -> None:
        """Count units that are asked for as well, and those among them that were done before."""
        first = not self.total
        self.total += units
        self._done += known
        self._before += known
        if first and self.total:
            _shown.begin(self)

    def update(
        self,
        done: int | None = None,
        *,
        note: str | None = None,
        left: float | None = None,
        told: bool = False,
    ) -> None:
        """Tell how far the work is; it is shown as soon as it is due.

        Args:
            done: units, with those done before; None: unchanged.
            note: what is in work, or the best so far; None: unchanged.
            left: seconds to the end, if known better than by the mean rate; nan: not at all yet.
            told: the caller logs a line of his own, so that a log needs no other.
        """
        if done is not None and done != self.done:
            self.done = done
        self.note = self.note if note is None else note
        if left is not None:
            self._end = _shown.clock() + left
        if told:
            _shown.told()
        elif self in _active and self.due:
            _shown.update()

    @property
    def elapsed(self) -> float:
        """Seconds since the work began."""
        return _shown.clock() - self._began

    @property
    def position(self) -> float:
        """Units done; with `fractions`, the nested work's fraction is added."""
        inner = _active[_active.index(self) + 1 :][:1] if self._fractions else []
        return self.done + sum(work.fraction for work in inner)

    @property
    def fraction(self) -> float:
        """The part that is done, in [0, 1]: of the time where that is known, else of the units."""
        if self._end is not None and isfinite(self._end) and self.left:
            return self.elapsed / (self.elapsed + self.left)
        return self.position / self.total if self.total else 0.0

    @property
    def rate(self) -> float:
        """Units a second, without those done before; nan until there is one."""
        units, seconds = self.position - self._before, self.elapsed - self._since
        return units / seconds if units > 0 and seconds > 0 else nan

    @property
    def waited(self) -> float:
        """Seconds since the last unit was done, or the work began."""
        return _shown.clock() - self._counted

    @property
    def _since(self) -> float:
        """Seconds that are no part of what each of the units done took."""
        return 0.0 if self._fractions else self.waited

    @property
    def left(self) -> float:
        """Seconds to the end; nan while that is unknown."""
        if self._end is not None:
            return max(self._end - _shown.clock(), 0.0) if isfinite(self._end) else nan
        return max((self.total - self.position) / self.rate - self._since, 0.0)

    def __str__(self) -> str:
        words = [f"{self.name}: {self.done:,} of {self.total:,} {self.unit}"]
        rate, left = self.rate, self.left
        if isfinite(rate):
            words.append(f"{rate:.3g} {self.unit}/s" if rate >= 1 else f"{1 / rate:.3g} s each")
        if isfinite(left) and self.done < self.total:
            words.append(f"{duration(left)} left")
        return ", ".join(words) + (f"; {self.note}" if self.note else "")


_active: list[Progress] = []
"""The works of this process, the outermost first."""


def duration(seconds: float) -> str:
    """Seconds as people say them: "8 s", "2 min 5 s", "3 h 20 min"."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def pulse() -> None:
    """Show the work again if that is due: called from inside units that take long."""
    if _active and _shown.due():
        _shown.update()


def works() -> str:
    """Tell all works of this process, the outermost first; empty between works."""
    active = tuple(_active)
    try:
        words = " | ".join(map(str, active))
    except ValueError:  # a thread asks, and one of them ended meanwhile
        return ""
    waited = active[-1].waited if active else 0.0
    return f"{words}; the last was {duration(waited)} ago" if waited >= EVERY else words


def told() -> None:
    """Count a line that somebody else wrote as one."""
    _shown.told()


def drawn() -> bool:
    """True if work is drawn as bars."""
    return isinstance(_shown, Bars)


def units_at_work() -> list[str]:
    """Units that the works of this process count, outermost first, as in ["trials", "steps"]."""
    return [work.unit for work in _active]


class Lines:
    """Log a line after `FIRST` seconds, then ever rarer, every `EVERY` seconds in the end.

    Of the outermost work the beginning and the end are logged, too. A command's lines are denser:
    see `fftune.cli.silence`.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.clock = clock
        self._last, self._pause = -inf, FIRST

    def due(self) -> bool:
        return self.clock() - self._last >= self._pause

    def begin(self, work: Progress) -> None:
        if work is _active[0]:
            self._pause = FIRST / 2
            self.update()

    def update(self) -> None:
        self._last, self._pause = self.clock(), min(2 * self._pause, EVERY)
        log.info("%s", " | ".join(map(str, _active)))

    def told(self) -> None:
        """Count a line that somebody else logs as one."""
        self._last = self.clock()

    def end(self) -> None:
        """Leave it to the log: `Progress` logs the end."""

    def write(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


class Bars:
    """Draw a bar a work at the foot of a terminal, below the lines of the log.

    No thread draws: a process forked meanwhile would inherit a lock that nobody opens.
    """

    def __init__(self, stream: TextIO, clock: Clock = time.monotonic) -> None:
        from rich.console import Console  # imported where there is a terminal

        self.clock = clock
        self._console = Console(file=stream, force_terminal=True)
        self._live: Live | None = None
        self._last = -inf

    def due(self) -> bool:
        return self.clock() - self._last >= REDRAW

    def begin(self, _work: Progress) -> None:
        from rich.live import Live

        if self._live is None:
            same = sys.stdout.isatty()  # then results go above the bars, too
            self._live = Live(
                console=self._console, auto_refresh=False, transient=True, redirect_stdout=same
            )
            self._live.start()
        self.update()

    def update(self) -> None:
        self._last = self.clock()
        if self._live is not None:
            self._live.update(_drawn(), refresh=True)

    def told(self) -> None:
        """Draw the bars."""
        self.update()

    def end(self) -> None:
        if _active:
            self.update()
        elif self._live is not None:
            self._live.stop()
            self._live = None

    def write(self, line: str) -> None:
        from rich.text import Text

        self._console.print(Text(line), soft_wrap=True)


def _drawn() -> "Table":
    """Draw a line a work: its bar, of 16 characters, and its text, cut at the terminal's edge."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    for work in _active:
        bar = ProgressBar(total=max(work.total, 1), completed=work.position, width=16)
        table.add_row(bar, Text(str(work), no_wrap=True, overflow="ellipsis"))
    return table


_shown: Lines | Bars = Lines()


def show_on(display: Lines | Bars) -> Lines | Bars:
    """Choose how this process shows its work from now on; return what it did so far."""
    global _shown
    before, _shown = _shown, display
    return before


def display_for(stream: TextIO) -> Lines | Bars:
    """Choose bars for a terminal that can move its cursor, else lines."""
    dumb = os.environ.get("TERM", "") in ("", "dumb")
    return Bars(stream) if stream.isatty() and not dumb else Lines()


class LogHandler(logging.Handler):
    """Write the log to stderr, above the bars if there are any, and without secrets."""

    last = ""
    """Message of the last record."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.last = record.getMessage()
            _shown.write(redacted(self.format(record)))
        except (OSError, ValueError):
            self.handleError(record)
