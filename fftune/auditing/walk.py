"""Walk of an audit: one look at all clean images, then attacks on draws until bars are decided.

Which examples come next depends on the seed alone, and when it ends on what they came to: the same
walk is gone again after an interruption, in this process as on a cluster.
"""

import logging
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import torch
from torch import Tensor

from fftune.auditing.bars import Bar
from fftune.auditing.stratum import Rows, Stratum, Tables, drawn_blocks
from fftune.config import AttackConfig, Goal, ThreatModel
from fftune.errors import ConfigError, FftuneError
from fftune.evaluation.batteries import Attack, canary, single
from fftune.evaluation.canary import size, told
from fftune.evaluation.cost_model import passes
from fftune.evaluation.escalation import (
    Evaluated,
    Plan,
    at_full_length,
    because,
    drawn,
    is_short,
    unless_weak,
)
from fftune.evaluation.job import BlockTask, EvalJob
from fftune.evaluation.sanity_checks import unbounded
from fftune.lint.questions import doubts
from fftune.outcomes import CERTIFIED, Outcomes

log = logging.getLogger("fftune.evaluation")

CLEAN = "clean"
"""Name, in rows, of the look at clean images."""
LOOKED = 250
"""Clean images that are looked at together."""
TRIED = 32
"""Survivors on which PGD without bounds must succeed."""
Steps = Generator[Sequence[BlockTask], Tables, None]


@dataclass(slots=True, kw_only=True, eq=False)
class Walk:
    """State of an audit, which its plan moves on."""

    bars: tuple[Bar, ...]
    alpha: float
    """Probability, at most, of a wrong PASS, and of a wrong FAIL."""
    examples: int | None = None
    """Most examples to attack; None: as many as it takes."""
    ahead: int = 1
    """Blocks that are asked for at once, where there are several workers."""
    total: int = 0
    wrong: int = 0
    """Examples of the set, and mistakes among them."""
    strata: dict[Goal, Stratum] = field(default_factory=dict)
    bounds: dict[Goal, int] = field(default_factory=dict)
    """Examples of D+ or D- on which a certified bound cannot exclude a success."""
    remarks: list[str] = field(default_factory=list)
    tables: Tables = field(default_factory=dict)

    def plan(self, job: EvalJob, remarks: Sequence[str]) -> Plan:
        """The tasks of a job; see `evaluation.escalation.Plan`.

        Raises:
            ConfigError: the battery has no attack that a bar could rest on.
            FftuneError: a block was lost.
        """
        attacks = {goal: _attacks(job, goal, remarks, self.remarks) for goal in self._goals()}
        looks = clean_tasks(job)
        yield from self._get(looks)
        right = _right(job, self.tables)
        self.total, self.wrong = len(right), int((~right).sum())
        for goal, chosen in attacks.items():
            rows = (right if goal == "adversarial" else ~right).nonzero().flatten()
            yield from self._begin(job, goal, rows, chosen)
            self._doubt(self.strata[goal], remarks)
        yield from self._go(job)
        walked = [task for one in self.strata.values() for task in one.tasks()]
        walked += [task for task in self.tables if task.attack.protocol == CERTIFIED]
        rows_of = (self.tables[task] for task in (*looks, *dict.fromkeys(walked)))
        return Evaluated(outcomes=Outcomes.of(rows_of), remarks=tuple(self.remarks))

    def _goals(self) -> list[Goal]:
        return list(dict.fromkeys(bar.goal for bar in self.bars if bar.goal is not None))

    def _get(self, tasks: Sequence[BlockTask]) -> Steps:
        """Have the rows of tasks, of which some may be known."""
        missing = [task for task in dict.fromkeys(tasks) if task not in self.tables]
        if not missing:
            return
        self.tables |= yield missing
        if lost := [task for task in tasks if task not in self.tables]:
            raise FftuneError(
                f"{len(lost)} blocks are missing, so that there is no verdict; the first: {lost[0]}"
            )

    def _begin(self, job: EvalJob, goal: Goal, rows: Tensor, attacks: Sequence[Attack]) -> Steps:
        """Exclude what certified bounds can, and put the others in the order of the draw."""
        size_ = len(rows)
        for bound in (attack for attack in attacks if attack.protocol == CERTIFIED):
            tasks = job.tasks(bound, rows) if len(rows) else []
            yield from self._get(tasks)
            open_ = [pa.chunked_array(self.tables[task]["success"]) for task in tasks]
            kept = [flag for column in open_ for flag in column.to_pylist()]
            rows = rows[torch.tensor(kept, dtype=torch.bool)]
            self.bounds[goal] = len(rows)
        ids = job.dataset.ids[rows]
        order = job.noise.fold("audit", goal).uniform(ids, (1,)).flatten().argsort(stable=True)
        bars = [bar for bar in self.bars if bar.goal is not None]
        self.strata[goal] = Stratum(
            goal=goal,
            size=size_,
            blocks=drawn_blocks(rows[order], job.block_size),
            attacks=tuple(attack for attack in attacks if attack.protocol != CERTIFIED),
            limits={b: b.limit(self.total, self.wrong) for b in bars if b.goal == goal},
            tables=self.tables,
            certified=goal in self.bounds,
            low_alpha=self.alpha / len(bars),
            high_alpha=self.alpha,
        )

    def _doubt(self, stratum: Stratum, remarks: Sequence[str]) -> None:
        """Mark attacks that all follow gradients where the lint doubts these."""
        against = doubts(remarks)
        if against and all(attack.follows for attack in stratum.attacks):
            stratum.doubt = f"remark {against[0]}, and every attack follows gradients"

    def _go(self, job: EvalJob) -> Steps:
        """Draw a block of each part in turn, until every bar is decided or nothing is left."""
        while open_ := [one for one in self.strata.values() if self._is_open(one)]:
            for one in open_:
                rows = one.blocks[one.at][: self._left]
                if not rows:
                    return
                one.at += 1
                yield from self._walk(one, rows)
                if one.rests_on_failures and not one.checked and not self._is_open(one):
                    yield from self._check(job, one)
                elif self._stands_still(one):
                    why = f"{one.void} of {one.examined} examples without good gradients"
                    yield from self._lengthen(job, one, why)

    def _stands_still(self, one: Stratum) -> bool:
        """Some example was not attacked at all, and a longer attack could do so."""
        undecided = not one.checked and not one.decided
        return undecided and one.void > 0 and any(map(is_short, one.attacks))

    def _is_open(self, one: Stratum) -> bool:
        return not one.decided and one.at < len(one.blocks)

    @property
    def _left(self) -> int | None:
        """Number of examples that may still be attacked."""
        if self.examples is None:
            return None
        return self.examples - sum(one.examined for one in self.strata.values())

    def _walk(self, one: Stratum, rows: Rows) -> Steps:
        """Attack a block, by one attack after the other, looking at the bars after each."""
        for stages in range(len(one.attacks)):
            task = one.seen(rows, stages).task
            assert task is not None  # the last look has ended the block
            if task not in self.tables:
                yield from self._get([task, *self._speculated()])
            if one.look(rows, stages + 1).task is None or one.decided:
                break
        log.info("%s", self._news(one))

    def _speculated(self) -> Iterator[BlockTask]:
        """Next tasks of the blocks ahead, which other workers may do meanwhile."""
        for one in self.strata.values() if self.ahead > 1 else ():
            for rows in one.blocks[one.at : one.at + self.ahead]:
                if not one.decided and (task := one.asked(rows)) is not None:
                    yield task

    def _news(self, one: Stratum) -> str:
        low, high = (100 * count / max(one.population, 1) for count in (one.low, one.high))
        what = "concealed" if one.goal == "hypocritical" else "fooled"
        return (
            f"{one.examined:,} of {one.population:,} examples drawn, {one.ones:,} {what}: "
            f"{low:.1f} to {high:.1f} % of all"
        )

    def _check(self, job: EvalJob, one: Stratum) -> Steps:
        """Ask if failures of attacks mean anything; where not, attack at full length, or doubt."""
        one.checked = True
        short = [attack for attack in one.attacks if is_short(attack)]
        survivors = torch.tensor(one.survivors(), dtype=torch.int64)
        order = drawn(job, job.dataset.ids[survivors], "canary")
        few = survivors[order[: size(one.examined, len(survivors)) if short else TRIED]]
        last = one.attacks[-1]
        tasks = job.tasks(unbounded(last, job.dataset.pixels[0].numel()), few[:TRIED])
        yield from self._get(tasks)
        left, why = len(few[:TRIED]) - self._wins(tasks), ""
        if left:
            why = f"an unbounded PGD leaves {left} of {len(few[:TRIED])} survivors as they are"
        elif short and last.tier == "escalating":
            tasks = job.tasks(canary(short[-1]), few)
            yield from self._get(tasks)
            if wins := self._wins(tasks):
                why = f"FAB and Square found {wins} of {len(few)} survivors that it had left"
            else:
                log.info("%s", told(one.examined, len(survivors), len(few)))
        if why and short:
            yield from self._lengthen(job, one, why)
        elif why and all(attack.follows for attack in one.attacks):
            one.doubt = why

    def _lengthen(self, job: EvalJob, one: Stratum, why: str) -> Steps:
        """Attack what short ensembles have left by one at full length, all blocks so far too."""
        one.checked = True
        short = [attack for attack in one.attacks if is_short(attack)]
        self.remarks.append(because(short[-1], why))
        for rows in one.lengthen(at_full_length(job, short[-1])):
            if not one.decided:
                yield from self._walk(one, rows)

    def _wins(self, tasks: Sequence[BlockTask]) -> int:
        return sum(int(pa.compute.sum(self.tables[t]["success"]).as_py() or 0) for t in tasks)


def clean_look(threat: ThreatModel) -> Attack:
    """Nothing but a look at the clean images."""
    return single(CLEAN, "adversarial", "ce", AttackConfig(threat=threat, steps=0, start="none"))


def clean_tasks(job: EvalJob) -> list[BlockTask]:
    """One look at every image of the set."""
    look = clean_look(job.attacks[0].config.threat)
    every = torch.arange(len(job.dataset)).split(LOOKED)
    return [BlockTask(look, tuple(rows.tolist())) for rows in every]


def _right(job: EvalJob, tables: Tables) -> Tensor:
    """(N,) bool, examples that the net gets right as they are."""
    found = {
        one: y == pred
        for table in tables.values()
        for one, y, pred in zip(
            *(table[name].to_pylist() for name in ("id", "y", "pred_clean")), strict=True
        )
    }
    return torch.tensor([found[one] for one in job.dataset.ids.tolist()], dtype=torch.bool)


def _attacks(
    job: EvalJob, goal: Goal, remarks: Sequence[str], said: list[str]
) -> tuple[Attack, ...]:
    """Attacks of a goal, the cheap ones first; at full length where the lint doubts gradients.

    Raises:
        ConfigError: there is none, or none that takes a step.
    """
    own = [attack for attack in job.attacks if attack.goal == goal]
    searching = [a for a in own if any(stage.config.steps for stage in a.stages)]
    if not searching:
        name = "an adversary" if goal == "adversarial" else "a false friend"
        raise ConfigError(
            f"battery.name must be one that attacks as {name}, as audit and risks do, "
            f"got {job.battery.name!r}"
        )
    whole = [replace(attack, scope="all") for attack in searching]  # a part is drawn from anyway
    chosen = [unless_weak(job, attack, remarks, said) for attack in whole]
    bounds = [attack for attack in own if attack.protocol == CERTIFIED]
    return (*sorted(chosen, key=passes), *bounds)
