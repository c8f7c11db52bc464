from collections.abc import Iterator

import pytest

from fftune.data import stopwatch
from fftune.data.stopwatch import Stopwatch
from tests.data.late_link import LateLink, LateMoment


class Clock:
    """Stands for the host's."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def perf_counter(self) -> float:
        return self.seconds

    def slow(self, count: int) -> Iterator[int]:
        for i in range(count):
            self.seconds += 0.02
            yield i


def test_the_hosts_clock_counts_the_producer_and_not_the_consumer(monkeypatch) -> None:
    monkeypatch.setattr(stopwatch, "time", clock := Clock())
    watch = Stopwatch()
    for _ in watch.timed(clock.slow(3)):
        clock.seconds += 0.1
    assert watch.seconds == pytest.approx(0.06)
    list(watch.timed(clock.slow(2)))
    assert watch.seconds == pytest.approx(0.1)


def test_a_devices_clock_counts_what_the_device_has_passed() -> None:
    link, made = LateLink(), list[LateMoment]()

    def now() -> LateMoment:
        made.append(link.now())
        return made[-1]

    def items() -> Iterator[int]:
        for i in range(3):
            link.clock += 10  # milliseconds
            yield i

    watch = Stopwatch(now)
    for _ in watch.timed(items()):
        link.clock += 1000  # of computation
        assert watch.seconds == 0.0  # and nobody waits for it
    for moment in made[:4]:
        moment.synchronize()
    assert watch.seconds == pytest.approx(2 * 0.011)
    for moment in made:
        moment.synchronize()
    assert watch.seconds == pytest.approx(3 * 0.011)
