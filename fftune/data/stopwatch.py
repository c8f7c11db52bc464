"""The time for which a consumer waits for its next item, by the clock of the host or a device."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol, Self, TypeVar

Item = TypeVar("Item")


class Moment(Protocol):
    """A point of a stream of work, which is passed at some time."""

    def query(self) -> bool:
        """True if it has been passed."""

    def elapsed_time(self, end: Self, /) -> float:
        """Milliseconds from this moment to a later one; both have been passed."""


class HostMoment:
    """A moment of the host, passed when it is made."""

    def __init__(self) -> None:
        self.at = time.perf_counter()

    def query(self) -> bool:
        """True."""
        return True

    def elapsed_time(self, end: "HostMoment", /) -> float:
        """Milliseconds from this moment to a later one."""
        return 1000 * (end.at - self.at)


class Stopwatch:
    """Adds up the time for which items are waited for.

    Args:
        now: gives the present moment, of which a device may know the time only later.
    """

    def __init__(self, now: Callable[[], Moment] = HostMoment) -> None:
        self._now = now
        self._spans: deque[tuple[Moment, Moment]] = deque()
        self._seconds = 0.0

    @property
    def seconds(self) -> float:
        """The sum over all items whose end has been passed; asking does not wait for it."""
        self._settle()
        return self._seconds

    def timed(self, items: Iterator[Item]) -> Iterator[Item]:
        """The items, each of them waited for on this watch."""
        while True:
            began = self._now()
            try:
                item = next(items)
            except StopIteration:
                return
            self._spans.append((began, self._now()))
            self._settle()
            yield item

    def _settle(self) -> None:
        while self._spans and all(moment.query() for moment in self._spans[0]):
            began, ended = self._spans.popleft()
            self._seconds += began.elapsed_time(ended) / 1000
