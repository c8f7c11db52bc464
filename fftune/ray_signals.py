"""Signals of a process that starts or joins Ray, which stay those of the process."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray._private import worker

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def signals_kept() -> Iterator[None]:
    """Keep the process's handler of SIGTERM: Ray's own ends it, and prints a trace of C++.

    While Ray connects, signals wait: what a handler raises then aborts the process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Ray leaves the handler alone there
        return
    before, connect = signal.getsignal(signal.SIGTERM), worker.connect

    def undisturbed(*values: Any, **settings: Any) -> Any:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            return connect(*values, **settings)
        finally:
            signal.signal(signal.SIGTERM, before)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    worker.connect = undisturbed
    try:
        yield
    finally:
        worker.connect = connect
        signal.signal(signal.SIGTERM, before)
