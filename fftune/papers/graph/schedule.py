"""Both papers as one graph of tasks: what items need, each task once, and in which order.

A schedule knows what is waiting, running, done and failed; an executor, `run_inline` here or that
of `fftune.papers.graph.on_ray`, asks it for the next task and tells it how that ended.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from fftune.config import Device
from fftune.errors import DivergedError, UserError
from fftune.models.equivalence import first_line
from fftune.papers.declarations import Need, Setup
from fftune.papers.items import Item
from fftune.papers.tasks import Task, perform, task_of
from fftune.progress import Progress
from fftune.registry import PAPERS

log = logging.getLogger(__name__)

ATTEMPTS = 2
"""Attempts of a task whose worker dies, or that ends by an error which is no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An item that was asked for, with its tasks."""

    key: str
    item: Item | None = None
    asked: tuple[Task, ...] = ()
    """Tasks that it asks for."""
    error: str = ""
    """Reason why it cannot be asked; empty: it can."""

    @property
    def title(self) -> str:
        """Subject, in one line."""
        return self.item.title if self.item else ""

    @property
    def tasks(self) -> list[Task]:
        """Tasks that it asks for, and those that these need: each after what it needs."""
        return closure(self.asked)


def wanted(keys: Iterable[str], setup: Setup) -> list[Wanted]:
    """Items by their keys, with the tasks that they become at a scale."""
    known: dict[Need, Task] = {}
    return [_wanted(key, setup, known) for key in keys]


def _wanted(key: str, setup: Setup, known: dict[Need, Task]) -> Wanted:
    try:
        item: Item = PAPERS[key]
        needs = list(item.needs(setup))
        asked = tuple(task_of(need, setup, known) for need in needs)
        for task in closure(asked):
            task.key  # noqa: B018 - it reads the settings of the scale, and weights of users
    except Exception as error:  # of a file of the user's, too
        log.debug("%s", key, exc_info=True)
        return Wanted(key=key, error=first_line(error))
    return Wanted(key=key, item=item, asked=asked)


def closure(tasks: Iterable[Task], *, below: Callable[[Task], bool] = lambda _: True) -> list[Task]:
    """Tasks and all that they need, each once, after what it needs.

    Args:
        below: tells of which tasks to take, with what they need; others are left out.
    """
    found: dict[str, Task] = {}

    def visit(task: Task) -> None:
        if task.key in found or not below(task):
            return
        for need in task.needs:
            visit(need)
        found[task.key] = task

    for task in tasks:
        visit(task)
    return list(found.values())


def left(tasks: Iterable[Task], root: Path) -> list[Task]:
    """Tasks that are still to be done: what only finished ones needed is not done again."""
    return closure(tasks, below=lambda task: not task.is_done(root))


class Schedule:
    """Tasks that are to be done, those at work, and why others failed.

    The next is that on which the longest chain of work hangs, of those whose needs are done.
    """

    def __init__(self, tasks: Sequence[Task], *, seconds: Mapping[str, float], at_once: int = 1):
        """Plan tasks.

        Args:
            tasks: what is to be done, each after what it needs; needs that are not among them are
                done.
            seconds: estimates by the keys of the tasks; only their ratios matter for the order.
            at_once: tasks that run side by side, for the time that is left.
        """
        self.at_once = at_once
        self.reasons: dict[str, str] = {}
        """Causes of failures, by the keys of the tasks."""
        self._waiting = {task.key: task for task in tasks}
        self._running: dict[str, Task] = {}
        self._done = 0
        self._seconds = seconds
        self._attempts: Counter[str] = Counter()
        self._hang: dict[str, list[Task]] = defaultdict(list)
        for task in tasks:
            for need in task.needs:
                self._hang[need.key].append(task)
        self._chain: dict[str, float] = {}
        for task in reversed(tasks):
            after = (self._chain[other.key] for other in self._hang[task.key])
            self._chain[task.key] = seconds[task.key] + max(after, default=0.0)
        self._spent = self._expected = 0.0

    @property
    def over(self) -> bool:
        """Nothing waits, and nothing is at work."""
        return not self._waiting and not self._running

    @property
    def failed(self) -> int:
        """Number of tasks that failed, or hang on one that did."""
        return len(self.reasons)

    def next(self) -> Task | None:
        """Take a task, which then is at work; None: none can begin now."""
        ready = (task for task in self._waiting.values() if not self._blocked(task))
        task = max(ready, key=lambda task: self._chain[task.key], default=None)
        if task is not None:
            self._running[task.key] = self._waiting.pop(task.key)
            self._attempts[task.key] += 1
        return task

    def _blocked(self, task: Task) -> bool:
        return any(n.key in self._waiting or n.key in self._running for n in task.needs)

    def done(self, task: Task, seconds: float) -> None:
        """Take note that a task is finished, after so many seconds."""
        del self._running[task.key]
        self._done += 1
        self._spent += seconds
        self._expected += self._seconds[task.key]

    def again(self, task: Task) -> None:
        """Put a task back that was stopped by no fault of its own, as a lost node's are."""
        self._waiting[task.key] = self._running.pop(task.key)
        self._attempts[task.key] -= 1

    def ended(self, task: Task, error: BaseException) -> None:
        """Take note that a task ended by an error: it is tried again, or fails with what needs it.

        What a user can mend is not tried again, nor is a training that diverged: they would end in
        the same way.
        """
        reason, final = first_line(error), isinstance(error, UserError | DivergedError)
        if not final and self._attempts[task.key] < ATTEMPTS:
            log.warning("%s: %s; it is tried again", task.need, reason)
            self._waiting[task.key] = self._running.pop(task.key)
            return
        log.warning("%s failed: %s", task.need, reason)
        del self._running[task.key]
        self._fail(task, reason)

    def _fail(self, task: Task, reason: str) -> None:
        self.reasons[task.key] = reason
        for other in self._hang[task.key]:
            if self._waiting.pop(other.key, None):
                self._fail(other, f"{task.need} failed: {reason}")

    def tell(self, progress: Progress) -> None:
        """Show how far the whole is: tasks done, at work and failed, and the time left."""
        progress.update(
            progress.total - len(self._waiting) - len(self._running) - self.failed,
            note=f"{len(self._running)} running, {self.failed} failed",
            left=self.left,
        )

    @property
    def left(self) -> float:
        """Seconds to the end, roughly: by the estimates alone while nothing was measured."""
        ahead = [*self._waiting.values(), *self._running.values()]
        work = sum(self._seconds[task.key] for task in ahead) / self.at_once
        chain = max((self._chain[task.key] for task in ahead), default=0.0)
        measured = self._spent / self._expected if self._expected else 1.0
        return max(work, chain) * measured


def run_inline(
    schedule: Schedule, progress: Progress, root: Path, *, device: Device, threads: int
) -> None:
    """Do all tasks in this process, one after the other."""
    while (task := schedule.next()) is not None:
        schedule.tell(progress)
        log.debug("begins: %s", task.key)
        began = perf_counter()
        try:
            perform(task, root, device=device, threads=threads)
        except Exception as error:
            log.debug("%s", task.key, exc_info=True)
            schedule.ended(task, error)
        else:
            schedule.done(task, perf_counter() - began)
        schedule.tell(progress)
