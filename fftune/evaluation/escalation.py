"""Plan of an evaluation job: its block tasks, and longer searches where short ones do not do.

A plan is a generator that yields tasks and is sent their tables, by a loop in this process or by a
pool of actors that serves many plans at once.
"""

import logging
from collections.abc import Collection, Generator, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import torch

from fftune.errors import ModelError
from fftune.evaluation.batteries import Attack, attacks_of, canary
from fftune.evaluation.job import BlockTask, EvalJob
from fftune.evaluation.tiers import CANARY
from fftune.lint.questions import BLIND
from fftune.outcomes import NAN, SOME_NAN, ZERO, Outcomes

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

Tables = Mapping[BlockTask, pa.Table]
Plan = Generator[Sequence[BlockTask], Tables, Outcomes]


def plan(job: EvalJob, remarks: Sequence[str] = ()) -> Plan:
    """Run all attacks on all blocks; then, once for the whole set, escalate.

    `escalating` becomes `full` where the gradient is known to mislead, where the canary finds
    something that the gradient searches missed, or where gradients vanish or are not finite.

    Args:
        remarks: the lint's, from `try_out`.

    Raises:
        ModelError: an attack that follows gradients found nothing to follow, on any example.
    """
    chosen = [_unless_blind(job, attack, remarks) for attack in job.attacks]
    tables = yield [task for attack in chosen for task in job.tasks(attack)]
    for attack in chosen:
        if attack.tier == "escalating":
            tables = yield from _escalated(job, attack, tables)
    outcomes = Outcomes.of(tables.values())
    _refuse_void(outcomes, {task.attack for task in tables})
    return outcomes


def single_pass(job: EvalJob) -> Plan:
    """Run all attacks on all blocks once; nothing is refused or searched again."""
    tables = yield [task for attack in job.attacks for task in job.tasks(attack)]
    return Outcomes.of(tables.values())


def _escalated(
    job: EvalJob, attack: Attack, tables: Tables
) -> Generator[Sequence[BlockTask], Tables, Tables]:
    """Try FAB and Square on a fixed few survivors; search the whole set at `full` if that helps."""
    searched = Outcomes.of(table for task, table in tables.items() if task.attack == attack)
    frame = searched.where(defense="none").to_pandas()
    survivors = torch.tensor(frame.loc[~frame["success"], "id"].to_numpy())
    draw = job.noise.fold("canary").uniform(survivors, (1,)).flatten()
    few = survivors[draw.argsort()[:CANARY]]
    rows = torch.isin(job.dataset.ids, few).nonzero().flatten()
    tried: Tables = {}
    if len(rows):
        tried = yield job.tasks(canary(attack), rows)
    found = Outcomes.of(tried.values()).where(defense="none").to_pandas()
    wins, void = int(found["success"].sum()), _is_void(frame["status"])
    flat = int((void | _is_doubtful(frame["status"])).sum())
    log.info("canary: FAB and Square found %d of %d survivors", wins, len(rows))
    if not wins and not flat:
        return {**tables, **tried}
    log.warning("tier full: canary found %d, %d examples without good gradients", wins, flat)
    again = yield job.tasks(_at_full_length(job, attack))
    others = {task: table for task, table in tables.items() if task.attack != attack}
    return {**others, **tried, **again}


def _unless_blind(job: EvalJob, attack: Attack, remarks: Sequence[str]) -> Attack:
    """The attack, or its `full` ensemble where the gradient it follows is known to mislead."""
    against = [line for line in remarks if line.partition(":")[0] in BLIND]
    if attack.tier != "escalating" or not against:
        return attack
    log.warning("tier full: %s", against[0])
    return _at_full_length(job, attack)


def _at_full_length(job: EvalJob, attack: Attack) -> Attack:
    defended = job.defense_set is not None
    every = attacks_of(job.battery, attack.config.threat, tier="full", defended=defended)
    (full,) = (p for p in every if p.goal == attack.goal and p.tier == "full" and p.is_ensemble)
    return full


def _is_void(status: "pd.Series[str]") -> "pd.Series[bool]":
    """Mark examples none of whose gradients had anything to follow."""
    return status.str.startswith((ZERO, NAN))


def _is_doubtful(status: "pd.Series[str]") -> "pd.Series[bool]":
    """Mark examples some of whose gradients had a pixel that is not finite."""
    return status.str.startswith(SOME_NAN)


def _refuse_void(outcomes: Outcomes, attacks: Collection[Attack]) -> None:
    """Refuse the rows of a net without gradients, which looks robust to whatever follows them.

    Only what holds a search without gradients can still be scored: the canary, and ensembles at
    full length.

    Raises:
        ModelError: some other attack found nothing to follow in any gradient of any example.
    """
    frame = outcomes.to_pandas()
    follows = {(attack.name, attack.tier) for attack in attacks if attack.follows}
    named = zip(frame["attack"], frame["tier"], strict=True)
    frame = frame.loc[[pair in follows for pair in named]]
    for attack, status in frame["status"].groupby(frame["attack"].astype(str)):
        if _is_void(status).all():
            kind = "zero" if status.str.startswith(ZERO).all() else "nan or infinite"
            raise ModelError(f"net's gradients are {kind} everywhere: {attack} cannot be scored")
