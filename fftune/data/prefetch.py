"""Prefetching: threads work ahead of a consumer, in order, at most a few items ahead."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Output = TypeVar("Output")


def prefetched(
    work: Callable[[Item], Output], items: Iterable[Item], *, threads: int
) -> Iterator[Output]:
    """`map(work, items)`, computed up to two items a thread in advance.

    The threads end when the consumer does, early or not; what `work` raises is raised here.
    """
    waiting: deque[Future[Output]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="fftune-data") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for left in waiting:
                left.cancel()


def cores() -> int:
    """Number of CPUs that this process may use; an affinity allows fewer than there are."""
    return len(os.sched_getaffinity(0))
