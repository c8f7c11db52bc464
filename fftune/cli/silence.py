"""Silence of a command: what it is at is said within 5 s, whatever it waits for.

It may wait for a minute in one call of a library, so a thread looks on. That thread takes no lock,
neither of a stream nor of the log: a process that is forked meanwhile would inherit it.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from fftune import progress
from fftune.cli.streams import Results
from fftune.progress import Clock, LogHandler, duration
from fftune.secrets import redacted

LONGEST = 4.0
"""Seconds of silence before the next look breaks it."""
LOOK = 0.5
"""Seconds between two looks."""


class Watcher:
    """Line on what a command is at, once it has written nothing for `LONGEST` seconds."""

    def __init__(
        self,
        *,
        write: Callable[[str], None],
        written: Callable[[], float],
        last: Callable[[], str],
        clock: Clock = time.monotonic,
    ) -> None:
        """Begin to count silence.

        Args:
            write: writes a line, without locks.
            written: time of the clock at which the command wrote something for the last time.
            last: the last message of its log.
        """
        self._write, self._written, self._last, self._clock = write, written, last, clock
        self._spoke = self._since = clock()
        self._heard = last()

    def look(self) -> None:
        """Break the silence if it has lasted; bars on a terminal are none."""
        now, last = self._clock(), self._last()
        if last != self._heard:
            self._heard, self._since = last, now
        if now - max(self._spoke, self._written()) < LONGEST:
            return
        works = progress.works()
        if works and progress.drawn():
            return
        first = last.partition("\n")[0] or "start"
        self._write(works or f"{duration(now - self._since)} after: {first}")
        self._spoke = now
        progress.told()


@contextmanager
def broken(handler: LogHandler) -> Iterator[None]:
    """Break a command's silences while the block runs, unless its log leaves out news."""
    stop, thread = Event(), None
    if logging.getLogger("fftune").isEnabledFor(logging.INFO):
        streams = [one for one in (sys.stdout, sys.stderr) if isinstance(one, Results)]
        watcher = Watcher(
            write=_write,
            written=lambda: max((one.written for one in streams), default=0.0),
            last=lambda: handler.last,
        )
        thread = Thread(target=_looking, args=(watcher, stop), name="silence", daemon=True)
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if thread is not None:
            thread.join(LOOK)  # its line would stand below the results


def _looking(watcher: Watcher, stop: Event) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))  # the main thread's
    while not stop.wait(LOOK):
        try:
            watcher.look()
        except (OSError, ValueError):  # nobody reads, or the stream is closed
            return


def _write(line: str) -> None:
    """Write a line to the stream of the log, beside its buffer."""
    text = redacted(f"{time.strftime('%H:%M:%S')} {line}\n")
    os.write(sys.stderr.fileno(), text.encode(errors="backslashreplace"))
