import time
from collections.abc import Iterator

import pytest

from fftune.data.stopwatch import Stopwatch
from tests.data.late_link import LateLink, LateMoment


def slow(count: int) -> Iterator[int]:
    for i in range(count):
        time.sleep(0.02)
        yield i


def test_the_hosts_clock_counts_the_producer_and_not_the_consumer() -> None:
    watch = Stopwatch()
    for _ in watch.timed(slow(3)):
        time.sleep(0.1)
    assert 0.06 <= watch.seconds < 0.16
    list(watch.timed(slow(2)))
    assert watch.seconds >= 0.1


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
