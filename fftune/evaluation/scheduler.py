"""Schedule the block tasks of evaluation jobs: longest first, with retries."""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite, nan

import pyarrow as pa

from fftune.bracket import brackets
from fftune.config import ModelSpec
from fftune.errors import FftuneError
from fftune.evaluation.batteries import Attack
from fftune.evaluation.block_cache import BlockCache
from fftune.evaluation.cost_model import CostModel
from fftune.evaluation.escalation import Plan, plan
from fftune.evaluation.job import BlockTask, EvalJob
from fftune.evaluation.model_under_test import ModelUnderTest
from fftune.evaluation.perform import perform
from fftune.evaluation.question import Question
from fftune.evaluation.running_accuracy import RunningAccuracy
from fftune.evaluation.sanity_checks import overfitted
from fftune.evaluation.saved_images import ImageFolder
from fftune.lint.after_attacks import remarked
from fftune.lint.questions import doubts
from fftune.outcomes import Outcomes
from fftune.progress import Progress

log = logging.getLogger("fftune.evaluation")

MakePlan = Callable[[EvalJob, Sequence[str]], Plan]
"""Makes the plan of a job, given the lint's remarks; see `escalation.plan`."""
ATTEMPTS = 3
"""Failures after which a task is recorded as lost."""


@dataclass(frozen=True, slots=True)
class LostBlock:
    """A task that was given up: its rows are missing, which is reported and never scored."""

    task: BlockTask
    reason: str

    def __str__(self) -> str:
        return f"{self.task}: {len(self.task.rows)} examples are missing: {self.reason}"


@dataclass(slots=True, kw_only=True)
class EvalResult:
    """Result of one net's evaluation: rows, or the error that prevented them."""

    outcomes: Outcomes | None = None
    lost: list[LostBlock] = field(default_factory=list)
    error: FftuneError | None = None
    """Reason why there are no outcomes."""
    remarks: tuple[str, ...] = ()
    """Remarks of the plan, a line each."""
    spent: dict[Attack, float] = field(default_factory=dict)
    """Seconds of each attack's blocks, over all workers; nan where some were found in a cache."""

    @property
    def seconds(self) -> dict[tuple[str, str, int], float]:
        """Seconds of one worker by attack, goal and target class (-1: none), where all are known.

        Rows do not hold them: rows are equal wherever they were computed.
        """
        return {
            (attack.name, attack.goal, -1 if attack.target is None else attack.target): seconds
            for attack, seconds in self.spent.items()
            if isfinite(seconds)
        }

    def complete(self) -> Outcomes:
        """The rows of every block.

        Raises:
            FftuneError: the net could not be evaluated, or blocks of it were lost.
        """
        if self.error is not None:
            raise self.error
        if self.lost:
            raise FftuneError(f"{len(self.lost)} blocks are missing; the first: {self.lost[0]}")
        assert self.outcomes is not None  # a plan ends with outcomes or with an error
        return self.outcomes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedJob:
    """A job whose net was found fit for its attacks, as any process can take it up."""

    spec: ModelSpec | None
    """Description of the net; None for one in the driver's memory."""
    job: EvalJob
    question: Question
    """The question that the rows answer, with the lint's remarks."""
    cache: BlockCache | None = None
    keep: ImageFolder | None = None
    """Folder for what is perturbed. Every block is attacked then, as no cache holds images."""
    make_plan: MakePlan = plan
    """Plan of its tasks; `plan`: every attack on every example."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks of the lint before the attacks, a line each."""
        return self.question.remarks

    def answered(self, result: EvalResult, remarks: Sequence[str] | None = None) -> EvalResult:
        """Add to the rows the question that they answer, with all remarks.

        Args:
            remarks: replace those of the lint; those of the plan, and what only rows show, are
                added in either case.
        """
        if result.outcomes is not None:
            brackets(result.outcomes)  # which refuses bounds that attacks have crossed
            lines = remarked(result.outcomes, self.remarks if remarks is None else remarks)
            lines = (*lines, *result.remarks)
            # Doubts say why PGD finds less; other plans may ask fewer examples of some attacks.
            if self.make_plan is plan and not doubts(lines):
                lines += overfitted(result.outcomes, self.job.attacks)
            question = replace(self.question, remarks=lines)
            result.outcomes = result.outcomes.answering(question.plain)
        return result


@dataclass(slots=True, kw_only=True, eq=False)
class JobState:
    """A job under way: its plan, the blocks it waits for, and in the end its result."""

    plan: Plan
    cache: BlockCache | None = None
    asked: int = 0
    """Tasks of the plan's last step that are still to be done."""
    tables: dict[BlockTask, pa.Table] = field(default_factory=dict)
    """Rows of the last step's tasks that are done."""
    result: EvalResult = field(default_factory=EvalResult)
    over: bool = False
    anew: bool = False
    """Ask for blocks that the cache has, too."""
    running: RunningAccuracy | None = None
    """Told of every block, for news of the evaluation; None: the plan tells its own."""

    @classmethod
    def of(cls, prepared: PreparedJob) -> "JobState":
        """A prepared job before its first task."""
        return cls(
            plan=prepared.make_plan(prepared.job, prepared.remarks),
            cache=prepared.cache,
            anew=prepared.keep is not None,
            running=None
            if prepared.make_plan is not plan
            else RunningAccuracy(
                f"{prepared.question.net or 'the net'}{prepared.job.battery.told_seed}",
                prepared.job.attacks,
            ),
        )

    def begin(self) -> list[BlockTask]:
        """Start the plan: its first tasks that are not in the cache."""
        return self._left(next(self.plan))

    def advance(self) -> list[BlockTask]:
        """Next tasks once all earlier ones have ended; none while some have not, or at the end."""
        left: list[BlockTask] = []
        while not self.over and not left and self.asked == 0:
            tables, self.tables = self.tables, {}
            try:
                left = self._left(self.plan.send(tables))
            except StopIteration as end:
                self.result.outcomes, self.result.remarks = end.value.outcomes, end.value.remarks
                self.over = True
            except FftuneError as error:
                self.refuse(error)
        return left

    def put(self, task: BlockTask, table: pa.Table, seconds: float) -> None:
        """Take and keep the rows of a task, and the seconds that it took."""
        self.result.spent[task.attack] = self.result.spent.get(task.attack, 0.0) + seconds
        if self.cache is not None:
            self.cache.put(task, table)
        if self.running is not None:
            self.running.put(task.attack, table, seconds)
        self.tables[task] = table
        self.asked -= 1

    def refuse(self, error: FftuneError) -> None:
        """End without outcomes."""
        self.result.error, self.over = error, True

    def _left(self, tasks: Sequence[BlockTask]) -> list[BlockTask]:
        known = {} if self.cache is None or self.anew else self.cache.known(tasks)
        self.tables = dict(known)
        self.result.spent |= dict.fromkeys((task.attack for task in known), nan)
        left = [task for task in tasks if task not in known]
        if self.running is not None:
            attacks = ((task.attack, table) for task, table in known.items())
            self.running.ask((task.attack for task in left), attacks)
        self.asked = len(left)
        return left


def run_inline(
    subject: ModelUnderTest, job: EvalJob, state: JobState, *, name: str = "evaluation"
) -> EvalResult:
    """Work through a job's tasks in this process, one after the other.

    Args:
        name: of the net, as progress calls it.
    """
    cost = CostModel(job.defense_set)
    subject = replace(subject, running=state.running and state.running.stage)
    tasks = state.begin()
    with Progress(f"{name}{job.battery.told_seed}", unit="blocks") as progress:
        while not state.over:
            known = len(state.tables)
            progress.add(len(tasks) + known, known=known)
            for at, task in enumerate(tasks):
                left = cost.left(tasks[at:]) if progress.due else None
                progress.update(note=str(task), left=left)
                began = time.perf_counter()
                table = perform(subject, job, task)
                seconds = time.perf_counter() - began
                state.put(task, table, seconds)
                cost.measured(task, seconds)
                progress.done += 1
            tasks = state.advance()
    return state.result


@dataclass(frozen=True, slots=True, eq=False)
class WorkItem:
    """A task of a job, in the queue."""

    state: JobState
    task: BlockTask


class TaskQueue:
    """Tasks of all jobs that no worker has, the longest first.

    Args:
        states: jobs that have not begun; of tasks of equal cost those of the first are next.
        expense: estimates what a task costs.
    """

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
        """Remove and return the item that takes longest; of equals, that of the first job."""
        longest = max(
            self._waiting, key=lambda k: (self._expense.of(self._waiting[k][0].task), -k[0])
        )
        items = self._waiting[longest]
        item = items.popleft()
        if not items:
            del self._waiting[longest]
        return item

    def done(self, item: WorkItem, table: pa.Table, seconds: float) -> None:
        """Take a task's rows, and the seconds that it took."""
        state = item.state
        if state.over:
            return
        state.put(item.task, table, seconds)
        self._ended(state)

    def again(self, item: WorkItem) -> None:
        """Queue a task once more, without counting a failure."""
        if not item.state.over:
            self._add(item)

    def failed(self, item: WorkItem, reason: str) -> bool:
        """Count a failure of a task.

        Returns:
            True where it is tried again; False where it is recorded as lost.
        """
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
        item.state.asked -= 1
        self._ended(item.state)
        return False

    def refused(self, item: WorkItem, error: FftuneError) -> None:
        """End a job whose task met an error that no other attempt would mend."""
        item.state.refuse(error)
        self._waiting = {
            key: items for key, items in self._waiting.items() if items[0].state is not item.state
        }

    def _ended(self, state: JobState) -> None:
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
