"""Watch of Ray's head: where it is gone, a command ends with one line, and not by Ray's C++.

Ray itself ends the process a minute after its head has gone, and seconds after the raylet of this
node has: without a word of Python's, and without `finally`.
"""

import os
import socket
import sys
import time
from _thread import interrupt_main
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread, current_thread, main_thread

from fftune.errors import ClusterError

POLL = 1.0
"""Seconds between two looks."""
SILENCE = 40.0
"""Seconds for which the head of a cluster may be away, as one that is started anew under its
address. Ray would wait for 60."""
ENDING = 20.0
"""Seconds in which a block may end by itself: calls of Ray may wait in it for the head."""
AGAIN = (
    "what is finished is kept; the same command goes on, a sweep's or a training's with --resume"
)


@contextmanager
def head_watched(
    head: str, raylet: str, *, private: bool, leave: Callable[[], object]
) -> Iterator[None]:
    """Look whether Ray is there while the block runs, and interrupt the block once it is gone.

    Whatever the block then raises becomes one line. Where Ray holds it fast, the process ends.

    Args:
        head: address of the head, as `127.0.0.1:6379`.
        raylet: path of the socket of this node's raylet.
        private: the head was started by this process, and nobody starts it anew.
        leave: called after the block, to disconnect.

    Raises:
        ClusterError: Ray is gone.
    """
    watch = _Watch(head, raylet, private=private)
    watch.start()
    try:
        with watch.telling():
            try:
                yield
            finally:
                with watch.lock:
                    watch.over.set()
    finally:
        leave()
        watch.left.set()


class _Watch(Thread):
    """Thread that looks, and interrupts the main thread, if that began it."""

    def __init__(self, head: str, raylet: str, *, private: bool) -> None:
        super().__init__(name="ray head", daemon=True)
        host, _, port = head.rpartition(":")
        self._head, self._silence = (host, int(port)), 0.0 if private else SILENCE
        self._raylet = socket.socket(socket.AF_UNIX)
        self._raylet.connect(raylet)
        self._interrupts = current_thread() is main_thread()
        self.line = ""
        """What is gone; empty while nothing is."""
        self.lock, self.over, self.left = Lock(), Event(), Event()
        """The block has ended, which is set under the lock; and Ray was left."""

    def run(self) -> None:
        """Look until the block ends or Ray is gone."""
        seen = time.monotonic()
        while not self.over.wait(POLL):
            line = self._gone()
            if not line:
                seen = time.monotonic()
            elif time.monotonic() - seen > self._silence or self._raylet_ended():
                self._end(line)
                return

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Turn an error of the block into the line, where Ray is gone; it may be sooner to fail."""
        try:
            yield
        except Exception as error:
            if line := self.line or self._gone():
                raise ClusterError(line) from error
            raise
        except KeyboardInterrupt as error:  # the user's, unless there is a line
            if self.line:
                raise ClusterError(self.line) from error
            raise

    def _gone(self) -> str:
        """Line about what is gone at this moment; empty if nothing is."""
        if self._raylet_ended():
            return f"Ray's raylet on this machine has ended; {AGAIN}"
        try:
            socket.create_connection(self._head, timeout=5).close()
        except OSError as error:
            where = ":".join(map(str, self._head))
            return f"Ray's head at {where} is gone ({error.strerror or error}); {AGAIN}"
        return ""

    def _raylet_ended(self) -> bool:
        """Has the other end of the connection gone? Nothing is ever sent on it."""
        try:
            return not self._raylet.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _end(self, line: str) -> None:
        with self.lock:
            if self.over.is_set():
                return
            self.line = line
            if self._interrupts:
                interrupt_main()
        if not self.left.wait(ENDING):
            print(f"fftune: {ClusterError(line)}", file=sys.stderr, flush=True)
            os._exit(ClusterError.exit_code)
