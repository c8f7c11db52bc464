"""Signals of a process that starts or joins Ray, which stay those of the process."""

import ctypes
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ray import _raylet
from ray._private import worker

INSTALL = "_ZN3ray6RayLog27InstallFailureSignalHandlerEPKcb"
"""Function of Ray's C++ that takes SIGTERM over; a second call does nothing."""


@contextmanager
def signals_kept() -> Iterator[None]:
    """Keep the process's handlers: Ray's own of SIGTERM end it, and print a trace of C++.

    While Ray connects, the first signal waits until it has: the process can be ended in order then.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Ray leaves Python's handlers alone there
        return
    found = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    kept = {number: handler for number, handler in found.items() if handler is not None}
    connect, came = worker.connect, list[int]()
    let_cpp_install()
    _install(kept)

    def wait(number: int, frame: FrameType | None) -> None:
        came.append(number)
        handler = kept[signal.Signals(number)]
        if len(came) > 1 and callable(handler):
            handler(number, frame)

    def undisturbed(*values: Any, **settings: Any) -> Any:
        _install(dict.fromkeys(kept, wait))
        connected = connect(*values, **settings)
        _install(kept)
        if came:
            signal.raise_signal(came[0])
        return connected

    worker.connect = undisturbed
    try:
        yield
    finally:
        worker.connect = connect
        _install(kept)


def _install(handlers: dict[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def let_cpp_install() -> None:
    """Let Ray's C++ install its handlers now, so that it will not while it connects.

    Theirs of SIGTERM aborts the process after 3 seconds, in whichever thread it runs: blocking the
    signal in this one would not do. Python's, installed after it, runs once C++ is done.
    """
    function = ctypes.PyDLL(_raylet.__file__)[INSTALL]
    function.argtypes, function.restype = (ctypes.c_char_p, ctypes.c_bool), None
    function(None, False)
