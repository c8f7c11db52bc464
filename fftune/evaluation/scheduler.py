"""Many plans at once: which task is next, which is tried again, whose turn is over."""

import logging
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from fftune.errors import FftuneError
from fftune.evaluation.batteries import Attack
from fftune.evaluation.block_cache import Cache
from fftune.evaluation.cost_model import CostModel
from fftune.evaluation.escalation import Plan
from fftune.evaluation.job import BlockTask
from fftune.outcomes import Outcomes

log = logging.getLogger("fftune.evaluation")

ATTEMPTS = 3
"""A task that fails so often is recorded as failed."""


@dataclass(frozen=True, slots=True)
class LostBlock:
    """A task that was given up: its rows are missing, which is said and never scored."""

    task: BlockTask
    reason: str

    def __str__(self) -> str:
        return f"{self.task}: {len(self.task.rows)} examples are missing: {self.reason}"


@dataclass(slots=True, kw_only=True)
class EvalResult:
    """What became of one plan."""

    outcomes: Outcomes | None = None
    lost: list[LostBlock] = field(default_factory=list)
    error: FftuneError | None = None
    """Why there are no outcomes."""


@dataclass(slots=True, kw_only=True, eq=False)
class JobState:
    """A plan on its way."""

    plan: Plan
    cache: Cache | None = None
    asked: int = 0
    tables: dict[BlockTask, pa.Table] = field(default_factory=dict)
    result: EvalResult = field(default_factory=EvalResult)
    over: bool = False

    def begin(self) -> list[BlockTask]:
        """The first tasks that are not known."""
        return self._left(next(self.plan))

    def advance(self) -> list[BlockTask]:
        """What is to be done next, once all that was asked for has ended; none at the end."""
        left: list[BlockTask] = []
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

    def _left(self, tasks: Sequence[BlockTask]) -> list[BlockTask]:
        known = {} if self.cache is None else self.cache.known(tasks)
        self.tables = dict(known)
        left = [task for task in tasks if task not in known]
        self.asked = len(left)
        return left


@dataclass(frozen=True, slots=True, eq=False)
class WorkItem:
    """A task of a sitting, in the queue."""

    state: JobState
    task: BlockTask


class TaskQueue:
    """The tasks of all sittings that nobody works on, the longest first."""

    def __init__(self, states: Sequence[JobState], expense: CostModel) -> None:
        self._expense = expense
        self._waiting: dict[tuple[int, Attack], deque[WorkItem]] = {}
        self._order = {state: at for at, state in enumerate(states)}
        self._failures: Counter[WorkItem] = Counter()
        self.asked = self.known = 0
        for state in states:
            self._put(state, state.begin())

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def __iter__(self) -> Iterator[WorkItem]:
        return (item for items in self._waiting.values() for item in items)

    def next(self) -> WorkItem:
        """The item that takes longest; of equals, that of the first sitting."""
        longest = max(
            self._waiting, key=lambda k: (self._expense.of(self._waiting[k][0].task), -k[0])
        )
        items = self._waiting[longest]
        item = items.popleft()
        if not items:
            del self._waiting[longest]
        return item

    def done(self, item: WorkItem, table: pa.Table) -> None:
        """Take a task's rows."""
        state = item.state
        if state.over:
            return
        if state.cache is not None:
            state.cache.put(item.task, table)
        state.tables[item.task] = table
        self._ended(state)

    def again(self, item: WorkItem) -> None:
        """Nobody's fault: it is still to be done."""
        if not item.state.over:
            self._add(item)

    def failed(self, item: WorkItem, reason: str) -> bool:
        """A task failed: whether it is tried again; else it is recorded as lost."""
        if item.state.over:
            return False
        self._failures[item] += 1
        if self._failures[item] < ATTEMPTS:
            log.warning("%s failed, once more: %s", item.task, reason)
            self.again(item)
            return True
        lost = LostBlock(item.task, f"failed {ATTEMPTS} times, the last time: {reason}")
        log.error("%s", lost)
        item.state.result.lost.append(lost)
        self._ended(item.state)
        return False

    def refused(self, item: WorkItem, error: FftuneError) -> None:
        """A task found what no other attempt would mend: the sitting ends."""
        item.state.refuse(error)
        self._waiting = {
            key: items for key, items in self._waiting.items() if items[0].state is not item.state
        }

    def _ended(self, state: JobState) -> None:
        state.asked -= 1
        if state.asked == 0:
            self._put(state, state.advance())

    def _put(self, state: JobState, tasks: Sequence[BlockTask]) -> None:
        self.asked += len(tasks)
        self.known += len(state.tables)
        for task in tasks:
            self._add(WorkItem(state, task))
        if not tasks and not state.over:
            self._put(state, state.advance())

    def _add(self, item: WorkItem) -> None:
        key = (self._order[item.state], item.task.attack)
        self._waiting.setdefault(key, deque()).append(item)
