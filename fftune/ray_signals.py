"""Signals of a process that starts or joins Ray, which stay those of the process."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ray._private import worker

ALARM = 3.0
"""Seconds after which Ray's C++ aborts a process that it has seen SIGTERM in."""


@contextmanager
def signals_kept() -> Iterator[None]:
    """Keep the process's handlers: Ray's own of SIGTERM ends it, and prints a trace of C++.

    While Ray connects, the first signal waits until it has: the process can be ended in order then,
    where C++ would abort it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Ray leaves the handlers alone there
        return
    found = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    kept = {number: handler for number, handler in found.items() if handler is not None}
    connect, came = worker.connect, list[int]()

    def wait(number: int, frame: FrameType | None) -> None:
        came.append(number)
        handler = kept[signal.Signals(number)]
        if len(came) > 1 and callable(handler):
            handler(number, frame)

    def undisturbed(*values: Any, **settings: Any) -> Any:
        for number in kept:
            signal.signal(number, wait)  # Ray's C++ calls this one after its own
        with _no_alarm():
            connected = connect(*values, **settings)
        for number, handler in kept.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
        return connected

    worker.connect = undisturbed
    try:
        yield
    finally:
        worker.connect = connect
        for number, handler in kept.items():
            signal.signal(number, handler)


@contextmanager
def _no_alarm() -> Iterator[None]:
    """Take the alarm back that Ray's C++ sets when it sees SIGTERM, whatever waits meanwhile."""
    over, (before, _) = threading.Event(), signal.getitimer(signal.ITIMER_REAL)

    def take_back() -> None:
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        if 0 < left <= ALARM and not 0 < before <= 2 * ALARM:
            signal.setitimer(signal.ITIMER_REAL, before)

    def look() -> None:
        while not over.wait(ALARM / 10):
            take_back()

    looking = threading.Thread(target=look, name="no alarm", daemon=True)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join()
        take_back()
