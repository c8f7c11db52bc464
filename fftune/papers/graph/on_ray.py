"""Do the tasks of the papers side by side on a Ray cluster; what each leaves is equal to inline."""

import logging
from pathlib import Path
from time import perf_counter
from typing import Any

from fftune.ray_cluster import (  # before Ray, whose start it sets
    Driver,
    capacity,
    cluster,
    enter_driver,
    max_concurrent,
    require_run_dir,
    require_shared_dir,
)

# isort: split
import ray
from ray.exceptions import NodeDiedError, RayError, RayTaskError

from fftune.config import Device, Resources
from fftune.errors import StorageError
from fftune.papers.graph.schedule import Schedule
from fftune.papers.tasks import Task, papers_root, perform
from fftune.progress import Progress

log = logging.getLogger(__name__)

POLL = 1.0
"""Seconds between two looks at what has ended, and at the cluster's nodes."""


def run_on_ray(
    schedule: Schedule,
    progress: Progress,
    root: Path,
    resources: Resources,
    *,
    device: Device,
    threads: int,
) -> None:
    """Do all tasks, each with `threads` CPUs and its share of a GPU, on one cluster.

    Raises:
        ClusterError: the cluster cannot be reached, or can never hold one task.
        StorageError: a node does not see the storage folder.
    """
    needs = {"CPU": float(threads), "GPU": resources.share}
    with cluster(resources):
        max_concurrent("a task", needs)
        require_shared_dir(root)
        _Driver(schedule, progress, root, needs, resources.concurrency, device).run()


class _Driver:
    """The tasks that are at work on the cluster, each with the reference of its end."""

    def __init__(
        self,
        schedule: Schedule,
        progress: Progress,
        root: Path,
        needs: dict[str, float],
        most: int | None,
        device: Device,
    ) -> None:
        self._schedule, self._progress, self._root = schedule, progress, root
        self._needs, self._most, self._device = needs, most, device
        self._running: dict[Any, Task] = {}
        remote: Any = ray.remote(_performed)
        # Retries are the schedule's: it knows which errors are no answers.
        self._remote = remote.options(num_cpus=needs["CPU"], num_gpus=needs["GPU"], max_retries=0)

    def run(self) -> None:
        looked = 0.0
        while not self._schedule.over:
            if perf_counter() - looked >= POLL:
                looked, room = perf_counter(), capacity(self._needs)
                self._schedule.at_once = max(1, min(room, self._most or room))
            self._begin()
            self._schedule.tell(self._progress)
            for reference in ray.wait(list(self._running), num_returns=1, timeout=POLL)[0]:
                self._end(self._running.pop(reference), reference)

    def _begin(self) -> None:
        while len(self._running) < self._schedule.at_once:
            task = self._schedule.next()
            if task is None:
                return
            given = (task, self._root, self._device, int(self._needs["CPU"]), Driver.here())
            self._running[self._remote.remote(*given)] = task

    def _end(self, task: Task, reference: Any) -> None:
        try:
            self._schedule.done(task, ray.get(reference))
        except NodeDiedError:
            log.warning("a node is gone; %s is done elsewhere", task.need)
            self._schedule.again(task)
        except RayError as error:
            cause = error.cause if isinstance(error, RayTaskError) else error
            if isinstance(cause, _UnseenError):  # the node would fail all tasks that it is given
                raise StorageError(str(cause)) from None
            self._schedule.ended(task, cause)


class _UnseenError(Exception):
    """A node that does not see the storage folder; it joined after the check of all nodes."""


def _performed(task: Task, root: Path, device: Device, threads: int, driver: Driver) -> float:
    """Do a task in a worker; return the seconds that it took."""
    enter_driver(driver)
    try:
        require_run_dir(papers_root(root), "lock")
    except StorageError as error:
        raise _UnseenError(str(error)) from None
    began = perf_counter()
    perform(task, root, device=device, threads=threads)
    return perf_counter() - began
