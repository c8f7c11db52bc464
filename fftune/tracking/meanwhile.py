"""Work that a thread does while a net takes its first steps, as opening MLflow is."""

import signal
import sys
from _thread import interrupt_main
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Lock, Thread, current_thread, main_thread
from typing import Generic, TypeVar

T = TypeVar("T")

SWITCH = 2e-4
"""Seconds for which a thread keeps Python to itself; by default 5e-3, for which every operation of
a net would wait while another thread imports."""


@contextmanager
def meanwhile(work: Callable[[], T]) -> Iterator[Callable[[], T]]:
    """Do work in a thread while the block runs, which is given what waits for its result.

    The block ends after the work, by an error as well: nothing goes on behind what then undoes it.
    An error of the work interrupts the block, and is raised; a block that is not the main thread's
    goes on until it waits.
    """
    running = _Work(work)
    running.start()
    try:
        yield running.wait
        running.wait()
    except KeyboardInterrupt:
        if running.error is not None:
            raise running.error from None
        raise
    finally:
        running.end()


class _Work(Thread, Generic[T]):
    """A thread whose error interrupts the main thread, if that began it and does not wait."""

    def __init__(self, work: Callable[[], T]) -> None:
        super().__init__(name="meanwhile")
        self._work = work
        self._result: Future[T] = Future()
        self._lock, self._awaited = Lock(), current_thread() is not main_thread()
        self.error: Exception | None = None

    def run(self) -> None:
        """Work, with the main thread served first."""
        signal.pthread_sigmask(
            signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM)
        )  # the main thread's
        before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH)
        try:
            self._result.set_result(self._work())
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the block
            with self._lock:
                self.error = error
                if not self._awaited:
                    interrupt_main()
            self._result.set_exception(error)
        finally:
            sys.setswitchinterval(before)

    def wait(self) -> T:
        """Wait for the result.

        Raises:
            Exception: whatever the work raised.
        """
        self._await()
        return self._result.result()

    def end(self) -> None:
        """Wait until the thread has ended, whatever its work came to."""
        self._await()
        self.join()

    def _await(self) -> None:
        with self._lock:  # from here on no error interrupts
            self._awaited = True
