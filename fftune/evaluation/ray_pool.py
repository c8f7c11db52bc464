"""Run the block tasks of evaluation jobs on Ray actors.

A task's rows do not depend on where it runs. Actors come and go with nodes; the task of an actor
that died is run by another.
"""

import io
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from fftune.ray_cluster import (
    Driver,
    capacity,
    living_nodes,
    max_concurrent,
    require_shared_dir,
)

# isort: split
import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from fftune.errors import ClusterError, FftuneError
from fftune.evaluation.cost_model import CostModel
from fftune.evaluation.job import BlockTask
from fftune.evaluation.ray_actor import Done, JobPayload, Worker
from fftune.evaluation.saved_images import ImageFolder
from fftune.evaluation.scheduler import EvalResult, JobState, PreparedJob, TaskQueue, WorkItem
from fftune.metrics import Metrics
from fftune.models import load_model
from fftune.models.equivalence import first_line
from fftune.progress import Progress

log = logging.getLogger("fftune.evaluation")

STARTS = 3
"""Failed starts in a row after which the pool gives up."""
POLL = 1.0
"""Seconds between two looks at the cluster's nodes."""


def _shared(images: ImageFolder) -> Path:
    """The folder of images, with an index by which actors know it.

    Raises:
        StorageError: a node does not see it.
    """
    images.add({})
    folder = images.folder.absolute()
    require_shared_dir(folder)
    return folder


class _Actor:
    """Handle of a worker, and its node once it has started."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.node = ""


class Pool:
    """Actors, as many as the cluster holds and there is work for, until the `with` block ends.

    Args:
        needs: resources of one actor, as in {"CPU": 1, "GPU": 0.5}.
        most: actors at once; None: as many as the cluster holds.
        study: name of this work in metrics.
    """

    def __init__(self, needs: Mapping[str, float], *, most: int | None, study: str) -> None:
        self._needs = dict(needs)
        self._most = most
        self._metrics = Metrics(study=study)
        self._coming: dict[Any, _Actor] = {}
        self._idle: list[_Actor] = []
        self._busy: dict[Any, tuple[_Actor, WorkItem]] = {}
        self._payloads: dict[JobState, Any] = {}
        self._pixels: dict[str, Any] = {}
        self._failed_starts = 0
        self._looked = -POLL
        self._room = 0

    def __enter__(self) -> "Pool":
        """
        Raises:
            ClusterError: the cluster can never hold one actor.
        """
        max_concurrent("an actor", self._needs)
        return self

    def __exit__(self, *_error: object) -> None:
        busy = [actor for actor, _ in self._busy.values()]
        for actor in (*self._coming.values(), *self._idle, *busy):
            ray.kill(actor.handle)
        self._coming, self._idle, self._busy = {}, [], {}
        self._metrics.queue(0)
        self._metrics.actors(0)

    def run(self, jobs: Sequence[PreparedJob]) -> list[EvalResult]:
        """Run all jobs' tasks, except those in their caches.

        Raises:
            ClusterError: no actor starts.
        """
        states = [JobState.of(job) for job in jobs]
        self._cost = CostModel(jobs[0].job.defense_set)
        queue = TaskQueue(states, self._cost)
        self._jobs = dict(zip(states, jobs, strict=True))
        nets = f"{len(jobs)} nets" if len(jobs) > 1 else jobs[0].question.net
        nets += jobs[0].job.battery.told_seed
        blocks, known = queue.asked + queue.known, queue.known
        with Progress(nets, unit="blocks", total=blocks, done=known) as progress:
            while len(queue) or self._busy:
                self._grow(len(queue))
                self._assign(queue)
                self._collect(queue, progress)
        self._jobs, self._payloads = {}, {}  # which hold all rows
        return [state.result for state in states]

    def start(self, actors: int) -> float:
        """Wait until so many actors have started, and return the seconds that it took.

        `run` needs no such wait: it begins with the first that has started.
        """
        began = time.perf_counter()
        while len(self._idle) < actors:
            self._grow(actors)
            self._await_one()
        return time.perf_counter() - began

    def _grow(self, waiting: int) -> None:
        """Request actors, as many as there is room and work for."""
        if time.monotonic() - self._looked >= POLL:
            self._looked, self._room = time.monotonic(), capacity(self._needs)
        have = len(self._coming) + len(self._idle) + len(self._busy)
        wanted = min(waiting + len(self._busy), self._room, self._most or self._room)
        for _ in range(wanted - have):
            options = {"num_cpus": self._needs["CPU"], "num_gpus": self._needs["GPU"]}
            worker = ray.remote(Worker).options(**options)
            actor = _Actor(worker.remote(self._metrics, Driver.here()))
            self._coming[actor.handle.node.remote()] = actor

    def _assign(self, queue: TaskQueue) -> None:
        while self._idle and len(queue):
            actor, item = self._idle.pop(), queue.next()
            payload = self._payload(item.state)
            reference = actor.handle.perform.remote([payload], item.task)
            self._busy[reference] = actor, item
        self._metrics.queue(len(queue))

    def _await_one(self) -> Any:
        """Reference of a task that has ended; None if none does within a moment."""
        pending = [*self._busy, *self._coming]
        if not pending:  # no node has room: wait for one
            time.sleep(POLL)
            return None
        for reference in ray.wait(pending, num_returns=1, timeout=POLL)[0]:
            if reference in self._busy:
                return reference
            self._started(reference)
        return None

    def _collect(self, queue: TaskQueue, progress: Progress) -> None:
        """Wait for a moment, and take the task that ends in it."""
        reference = self._await_one()
        if reference is not None:
            self._ended(reference, queue, progress)
        self._metrics.actors(len(self._busy) + len(self._idle))
        if progress.due:
            at_work = [item.task for _, item in self._busy.values()]
            left = self._cost.left([*(item.task for item in queue), *at_work])
            actors = len(self._busy)
            progress.update(note=f"{actors} actors", left=left / max(actors, 1))

    def _started(self, reference: Any) -> None:
        actor = self._coming.pop(reference)
        try:
            actor.node = ray.get(reference)
        except RayError as error:
            self._failed_starts += 1
            if self._failed_starts >= STARTS:
                raise ClusterError(f"no actor could start: {first_line(error)}") from None
            return
        self._failed_starts = 0
        self._idle.append(actor)

    def _ended(self, reference: Any, queue: TaskQueue, progress: Progress) -> None:
        actor, item = self._busy.pop(reference)
        try:
            done: Done = ray.get(reference)
        except RayError as error:
            self._failed(actor, item, queue, error)
            return
        self._idle.append(actor)
        self._cost.measured(item.task, done.seconds)
        progress.update(progress.done + 1)
        self._count(item.task, done.table)
        if (folder := self._jobs[item.state].keep) is not None:
            folder.add(done.images)
        if item.state.running is not None:
            for search in done.searches:
                item.state.running.stage(*search)
        before = queue.asked
        queue.done(item, done.table, done.seconds)
        progress.add(queue.asked - before)
        if item.state.over:
            self._payloads.pop(item.state, None)

    def _failed(self, actor: _Actor, item: WorkItem, queue: TaskQueue, error: RayError) -> None:
        """Queue the task again, unless it failed too often or will always fail."""
        cause = error.cause if isinstance(error, RayTaskError) else error
        if isinstance(cause, FftuneError):
            self._idle.append(actor)
            queue.refused(item, cause)
            return
        ray.kill(actor.handle)  # the error may have broken its process, as CUDA's do
        if isinstance(error, RayActorError) and actor.node not in living_nodes():
            log.warning("a node is gone; %s is done elsewhere", item.task)
            queue.again(item)
        elif queue.failed(item, first_line(cause)):
            self._metrics.retry(item.task.attack.name)
        else:
            self._metrics.failed(item.task.attack.name)

    def _count(self, task: BlockTask, table: pa.Table) -> None:
        bare = table.filter(pa.compute.field("defense") == "none")
        total = {name: int(pa.compute.sum(bare[name]).as_py() or 0) for name in _COUNTED}
        self._metrics.block(
            attack=task.attack.name,
            goal=task.attack.goal,
            examples=len(bare),
            forwards=total["forwards"],
            backwards=total["backwards"],
            successes=total["success"],
        )

    def _payload(self, state: JobState) -> Any:
        """Reference to a job in the object store, put there when it is first asked for."""
        if state not in self._payloads:
            prepared = self._jobs[state]
            assert prepared.spec is not None  # `evaluate` refuses nets in memory
            weights = io.BytesIO()
            torch.save(load_model(prepared.spec).state_dict(), weights)
            job = prepared.job
            if job.dataset_hash not in self._pixels:
                self._pixels[job.dataset_hash] = ray.put(job.dataset.pixels.numpy())
            payload = JobPayload(
                spec=prepared.spec,
                weights=weights.getvalue(),
                job=replace(job, dataset=replace(job.dataset, pixels=torch.empty(0))),
                pixels=self._pixels[job.dataset_hash],
                images=None if prepared.keep is None else _shared(prepared.keep),
            )
            self._payloads[state] = ray.put(payload)
        return self._payloads[state]


_COUNTED = ("forwards", "backwards", "success")
