"""Part of an audited set that one kind of attacker concerns, its draws, and what they came to."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
from torch import Tensor

from fftune.auditing.bars import Bar
from fftune.auditing.record import Finder
from fftune.config import Goal
from fftune.evaluation.batteries import Attack
from fftune.evaluation.job import BlockTask
from fftune.outcomes import NAN, ZERO
from fftune.sequential import FiniteSequence
from fftune.verdict import Outcome

Tables = dict[BlockTask, pa.Table]
"""Rows of all tasks that are done."""
Rows = tuple[int, ...]
"""Positions of examples in the data set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """State of a block's examples after some of the attacks."""

    left: Rows
    """Examples on which none of these succeeded."""
    void: Rows
    """Those of them where every attack followed gradients that led nowhere: they were not attacked
    at all."""
    task: BlockTask | None
    """The next attack on what is left; None: there is none."""


@dataclass(slots=True, kw_only=True, eq=False)
class Stratum:
    """The mistakes (D-) for false friends, or the right answers (D+) for adversaries.

    Examples are drawn from it in blocks; each attack tries what cheaper ones have left. A success
    counts at once, a failure when all attacks have failed; what lies between is unresolved.
    """

    goal: Goal
    size: int
    """Examples of D- or D+."""
    blocks: tuple[Rows, ...]
    """Examples that no bound has excluded, in the order of the draw."""
    attacks: tuple[Attack, ...]
    """The cheap ones first."""
    limits: dict[Bar, int]
    """Most successes with which each bar is passed."""
    tables: Tables
    """Rows of all tasks of the audit, shared."""
    certified: bool
    """A bound was computed, and what it excludes is in no block."""
    low_alpha: float
    high_alpha: float
    at: int = 0
    """Number of blocks that were drawn."""
    walked: list[tuple[Rows, int]] = field(default_factory=list)
    """Blocks that were drawn, and how many of the attacks were asked for."""
    ones: int = 0
    zeros: int = 0
    void: int = 0
    """Examples of drawn blocks: attacked with success, in vain, or not at all."""
    finished: int = 0
    """Examples of blocks in which all attacks that were needed were tried."""
    doubt: str = ""
    """Reason not to believe that attacks in vain mean anything."""
    checked: bool = False
    """The sanity of these attacks was looked at."""
    sequence: FiniteSequence | None = field(init=False)
    """Bounds on the successes among all of `blocks`; None where there are no examples."""

    def __post_init__(self) -> None:
        self.sequence = self._sequence()

    @property
    def population(self) -> int:
        """Number of examples that are drawn from."""
        return sum(map(len, self.blocks))

    @property
    def examined(self) -> int:
        """Number of examples that were drawn."""
        return 0 if self.sequence is None else self.sequence.examined

    @property
    def low(self) -> int:
        """Least number of successes among all examples."""
        return 0 if self.sequence is None else self.sequence.low

    @property
    def high(self) -> int:
        """Largest number of successes of this battery among all examples."""
        return 0 if self.sequence is None else self.sequence.high

    @property
    def exact(self) -> bool:
        """Nothing is left to look at: the bounds are the number itself."""
        return self.low == self.high

    @property
    def decided(self) -> bool:
        """Every bar passes or fails."""
        return all(self.outcome(limit) != "inconclusive" for limit in self.limits.values())

    @property
    def rests_on_failures(self) -> bool:
        """Some bar passes because attacks have failed."""
        passes = (self.outcome(limit) == "pass" for limit in self.limits.values())
        return any(passes) and self.zeros > 0

    def outcome(self, limit: int) -> Outcome:
        """Verdict on a bar: all numbers of successes that are left keep to it, none or some do."""
        return "pass" if self.high <= limit else "fail" if self.low > limit else "inconclusive"

    def seen(self, rows: Rows, stages: int) -> Seen:
        """State of a block after its first attacks, whose rows must be known.

        Args:
            stages: number of these attacks.
        """
        left, tried = rows, set[int]()
        for attack in self.attacks[:stages]:
            won, idle = self._read(BlockTask(attack, left)) if left else (set(), set())
            tried |= set(left) - idle
            left = tuple(at for at in left if at not in won)
        more = left and stages < len(self.attacks)
        task = BlockTask(self.attacks[stages], left) if more else None
        return Seen(left=left, void=tuple(at for at in left if at not in tried), task=task)

    def asked(self, rows: Rows) -> BlockTask | None:
        """First task of a block whose rows are not known; None: all are."""
        for stages in range(len(self.attacks) + 1):
            task = self.seen(rows, stages).task
            if task is None or task not in self.tables:
                return task
        return None

    def look(self, rows: Rows, stages: int) -> Seen:
        """Take account of a block after its first attacks, and look at the bounds."""
        seen = self.seen(rows, stages)
        over = seen.task is None
        zeros = len(seen.left) - len(seen.void) if over else 0
        assert self.sequence is not None  # there are examples
        self.sequence.look(
            ones=self.ones + len(rows) - len(seen.left),
            zeros=self.zeros + zeros,
            unresolved=self.void + len(seen.left) - zeros,
        )
        if over or self.decided:
            self.walked.append((rows, stages))
            self.ones += len(rows) - len(seen.left)
            self.zeros += zeros
            self.finished += len(rows) if over else 0
            self.void += len(seen.void) if over else 0
        return seen

    def survivors(self) -> list[int]:
        """Examples on which all attacks were tried in vain, in the order of the draw."""
        seen = (self.seen(rows, stages) for rows, stages in self.walked)
        return [at for one in seen if one.task is None for at in one.left]

    def lengthen(self, longer: Attack) -> list[Rows]:
        """Add an attack that is asked what all others leave, and begin again, in the same order.

        What succeeded stays a success. So the bounds of this walk lie above those of the last, look
        by look: a wrong verdict of either is one of a single sequence, and costs its alpha once.

        Returns:
            The blocks to walk once more, of which the rows of the others are known.
        """
        again = [rows for rows, _ in self.walked]
        self.attacks = (*self.attacks, longer)
        self.walked, self.ones, self.zeros, self.void, self.finished = [], 0, 0, 0, 0
        self.sequence = self._sequence()
        return again

    def found_by(self) -> tuple[Finder, ...]:
        """Attacks that succeeded, the most successful first, each on what others had left."""
        counts: Counter[str] = Counter()
        passes: Counter[str] = Counter()
        for task in self.tasks():
            table = self.tables[task]
            counts[task.attack.name] += int(pa.compute.sum(table["success"]).as_py() or 0)
            for kind in ("forwards", "backwards"):
                passes[task.attack.name] += int(pa.compute.sum(table[kind]).as_py() or 0)
        found = ((name, count) for name, count in counts.most_common() if count)
        return tuple(
            Finder(attack=name, goal=self.goal, count=count, passes=passes[name])
            for name, count in found
        )

    def tasks(self) -> Iterator[BlockTask]:
        """Tasks on which the verdict rests, in their order."""
        for rows, stages in self.walked:
            for stage in range(stages):
                task = self.seen(rows, stage).task
                if task is not None:
                    yield task

    def _sequence(self) -> FiniteSequence | None:
        if not self.blocks:
            return None
        return FiniteSequence(
            population=self.population, low_alpha=self.low_alpha, high_alpha=self.high_alpha
        )

    def _read(self, task: BlockTask) -> tuple[set[int], set[int]]:
        """Examples of a task on which its attack succeeded, and where it had nothing to follow."""
        table = self.tables[task]
        successes = zip(task.rows, table["success"].to_pylist(), strict=True)
        statuses = zip(task.rows, table["status"].to_pylist(), strict=True)
        follows = task.attack.follows
        idle = {at for at, said in statuses if follows and said.startswith((ZERO, NAN))}
        return {at for at, success in successes if success}, idle


def drawn_blocks(rows: Tensor, size: int) -> tuple[Rows, ...]:
    """Cut (N,) positions, in the order of the draw, into blocks."""
    return tuple(tuple(block.tolist()) for block in rows.split(size) if len(block))
