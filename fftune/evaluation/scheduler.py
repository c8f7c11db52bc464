"""Many plans at once: which task is next, which is tried again, whose turn is over."""

import logging
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from fftune.errors import FftuneError
from fftune.evaluation.batteries import Probe
from fftune.evaluation.block_cache import Cache
from fftune.evaluation.cost_model import Expense
from fftune.evaluation.escalation import Plan
from fftune.evaluation.job import Task
from fftune.outcomes import Outcomes

log = logging.getLogger("fftune.evaluation")

ATTEMPTS = 3
"""A task that fails so often is recorded as failed."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A task that was given up: its rows are missing, which is said and never scored."""

    task: Task
    reason: str

    def __str__(self) -> str:
        return f"{self.task}: {len(self.task.rows)} examples are missing: {self.reason}"


@dataclass(slots=True, kw_only=True)
class Result:
    """What became of one plan."""

    outcomes: Outcomes | None = None
    lost: list[Lost] = field(default_factory=list)
    error: FftuneError | None = None
    """Why there are no outcomes."""


@dataclass(slots=True, kw_only=True, eq=False)
class Sitting:
    """A plan on its way."""

    plan: Plan
    cache: Cache | None = None
    asked: int = 0
    tables: dict[Task, pa.Table] = field(default_factory=dict)
    result: Result = field(default_factory=Result)
    over: bool = False

    def begin(self) -> list[Task]:
        """The first tasks that are not known."""
        return self._left(next(self.plan))

    def advance(self) -> list[Task]:
        """What is to be done next, once all that was asked for has ended; none at the end."""
        left: list[Task] = []
        while not self.over and not left and self.asked == 0:
            tables, self.tables = self.tables, {}
            try:
                left = self._left(self.plan.send(tables))
            except StopIteration as end:
                self.result.outcomes, self.over = end.value, True
            except FftuneError as error:
                self.refuse(error)
        return left

    def refuse(self, error: FftuneError) -> None:
        """End without outcomes."""
        self.result.error, self.over = error, True

    def _left(self, tasks: Sequence[Task]) -> list[Task]:
        known = {} if self.cache is None else self.cache.known(tasks)
        self.tables = dict(known)
        left = [task for task in tasks if task not in known]
        self.asked = len(left)
        return left


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A task of a sitting, in the queue."""

    sitting: Sitting
    task: Task


class Queue:
    """The tasks of all sittings that nobody works on, the longest first."""

    def __init__(self, sittings: Sequence[Sitting], expense: Expense) -> None:
        self._expense = expense
        self._waiting: dict[tuple[int, Probe], deque[Item]] = {}
        self._order = {sitting: at for at, sitting in enumerate(sittings)}
        self._failures: Counter[Item] = Counter()
        self.asked = self.known = 0
        for sitting in sittings:
            self._put(sitting, sitting.begin())

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def __iter__(self) -> Iterator[Item]:
        return (item for items in self._waiting.values() for item in items)

    def next(self) -> Item:
        """The item that takes longest; of equals, that of the first sitting."""
        longest = max(
            self._waiting, key=lambda k: (self._expense.of(self._waiting[k][0].task), -k[0])
        )
        items = self._waiting[longest]
        item = items.popleft()
        if not items:
            del self._waiting[longest]
        return item

    def done(self, item: Item, table: pa.Table) -> None:
        """Take a task's rows."""
        sitting = item.sitting
        if sitting.over:
            return
        if sitting.cache is not None:
            sitting.cache.put(item.task, table)
        sitting.tables[item.task] = table
        self._ended(sitting)

    def again(self, item: Item) -> None:
        """Nobody's fault: it is still to be done."""
        if not item.sitting.over:
            self._add(item)

    def failed(self, item: Item, reason: str) -> bool:
        """A task failed: whether it is tried again; else it is recorded as lost."""
        if item.sitting.over:
            return False
        self._failures[item] += 1
        if self._failures[item] < ATTEMPTS:
            log.warning("%s failed, once more: %s", item.task, reason)
            self.again(item)
            return True
        lost = Lost(item.task, f"failed {ATTEMPTS} times, the last time: {reason}")
        log.error("%s", lost)
        item.sitting.result.lost.append(lost)
        self._ended(item.sitting)
        return False

    def refused(self, item: Item, error: FftuneError) -> None:
        """A task found what no other attempt would mend: the sitting ends."""
        item.sitting.refuse(error)
        self._waiting = {
            key: items
            for key, items in self._waiting.items()
            if items[0].sitting is not item.sitting
        }

    def _ended(self, sitting: Sitting) -> None:
        sitting.asked -= 1
        if sitting.asked == 0:
            self._put(sitting, sitting.advance())

    def _put(self, sitting: Sitting, tasks: Sequence[Task]) -> None:
        self.asked += len(tasks)
        self.known += len(sitting.tables)
        for task in tasks:
            self._add(Item(sitting, task))
        if not tasks and not sitting.over:
            self._put(sitting, sitting.advance())

    def _add(self, item: Item) -> None:
        key = (self._order[item.sitting], item.task.probe)
        self._waiting.setdefault(key, deque()).append(item)
