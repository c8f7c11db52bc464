"""Prefetching: threads work ahead of a consumer, in order, at most a few items ahead."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Output = TypeVar("Output")


def prefetched(
    work: Callable[[Item], Output],
    items: Iterable[Item],
    *,
    threads: int,
    ahead: int | None = None,
) -> Generator[Output, None, None]:
    """`map(work, items)`, computed `ahead` items in advance, by default two a thread.

    The threads end when the consumer does, early or not; what `work` raises is raised here.
    """
    ahead = 2 * threads if ahead is None else ahead
    waiting: deque[Future[Output]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="fftune-data") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for left in waiting:
                left.cancel()


def cores() -> int:
    """Number of CPUs that this process may use; an affinity allows fewer than there are."""
    return len(os.sched_getaffinity(0))
