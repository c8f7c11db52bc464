"""Plan of an evaluation job: its block tasks, and longer searches where short ones do not do.

A plan is a generator that yields tasks and is sent their tables, by a loop in this process or by a
pool of actors that serves many plans at once.
"""

import logging
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import torch
from torch import Tensor

from fftune.comparison import Paired
from fftune.config import BatteryConfig
from fftune.errors import UnscorableError
from fftune.evaluation.batteries import CANARY_NAME, Attack, attacks_of, canary
from fftune.evaluation.canary import size, told
from fftune.evaluation.job import BlockTask, EvalJob
from fftune.evaluation.sanity_checks import COMPARED, is_pgd, named, pgd_50, unbounded
from fftune.lint.finding import Remark
from fftune.lint.questions import doubts
from fftune.outcomes import NAN, SOME_NAN, ZERO, Outcomes

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

FULL = {"adversarial": "ensemble", "hypocritical": "hypocritical"}
"""Batteries whose ensemble is run at `full` where the user's own has none for the goal."""

Tables = Mapping[BlockTask, pa.Table]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluated:
    """Rows of a job that is done, and what its plan noticed."""

    outcomes: Outcomes
    remarks: tuple[str, ...] = ()
    """Reasons to run an ensemble at full length, and signs of catastrophic overfitting."""


Plan = Generator[Sequence[BlockTask], Tables, Evaluated]


def plan(job: EvalJob, remarks: Sequence[str] = ()) -> Plan:
    """Run all attacks on all blocks; then, once for the whole set, escalate.

    `screen` and `escalating` become `full` where the lint remarked on gradients or answers, where
    gradients vanish or are not finite, or where an unbounded PGD leaves survivors as they are;
    `escalating` also where the canary finds something that the gradient searches missed.

    Args:
        remarks: the lint's, from `try_out`.

    Raises:
        UnscorableError: an attack that follows gradients found nothing to follow, on any example.
    """
    said: list[str] = []
    chosen = [unless_weak(job, attack, remarks, said) for attack in job.attacks]
    tables = yield [task for attack in chosen for task in job.tasks(attack)]
    for attack in chosen:
        if is_short(attack):
            tables = yield from _escalated(job, attack, tables, said)
    for attack in dict.fromkeys(task.attack for task in tables):
        if _is_adversary(attack) and not any(map(is_pgd, job.attacks)) and not doubts(remarks):
            yield from _compared(job, attack, tables, said)
    outcomes = Outcomes.of(tables.values())
    _refuse_void(outcomes, {task.attack for task in tables})
    return Evaluated(outcomes=outcomes, remarks=tuple(said))


def single_pass(job: EvalJob) -> Plan:
    """Run all attacks on all blocks once; nothing is refused or searched again."""
    tables = yield [task for attack in job.attacks for task in job.tasks(attack)]
    return Evaluated(outcomes=Outcomes.of(tables.values()))


def _escalated(
    job: EvalJob, attack: Attack, tables: Tables, said: list[str]
) -> Generator[Sequence[BlockTask], Tables, Tables]:
    """Try an ensemble's survivors by other means; search the whole set at `full` if they help."""
    frame = _bare(table for task, table in tables.items() if task.attack == attack)
    flat = int((_is_void(frame["status"]) | _is_doubtful(frame["status"])).sum())
    survivors = torch.tensor(frame.loc[~frame["success"], "id"].to_numpy())
    few = survivors[drawn(job, survivors, "canary")[: size(len(frame), len(survivors))]]
    rows, why = torch.isin(job.dataset.ids, few).nonzero().flatten(), ""
    tried: Tables = {}
    if flat:
        why = f"{flat} of {len(frame)} examples without good gradients"
    elif len(rows):
        anywhere = yield job.tasks(unbounded(attack, job.dataset.pixels[0].numel()), rows)
        left = int((~_bare(anywhere.values())["success"]).sum())
        if left:
            why = f"an unbounded PGD leaves {left} of {len(rows)} survivors as they are"
    if not why and attack.tier == "escalating":
        tried = yield job.tasks(canary(attack), rows)
        wins = int(_bare(tried.values())["success"].sum())
        log.info("canary: FAB and Square found %d of %d survivors", wins, len(rows))
        if wins:
            why = f"FAB and Square found {wins} of {len(rows)} survivors that it had left"
        else:
            log.info("%s", told(len(frame), len(survivors), len(rows)))
    if not why:
        return {**tables, **tried}
    said.append(because(attack, why))
    again = yield job.tasks(at_full_length(job, attack))
    others = {task: table for task, table in tables.items() if task.attack != attack}
    return {**others, **tried, **again}


def _compared(
    job: EvalJob, attack: Attack, tables: Tables, said: list[str]
) -> Generator[Sequence[BlockTask], Tables, None]:
    """Run PGD-50 on what an ensemble fooled of a fixed few, and remark where it finds far less."""
    frame = _bare(table for task, table in tables.items() if task.attack == attack)
    ids = torch.tensor(frame["id"].to_numpy())
    few = frame[frame["id"].isin(ids[drawn(job, ids, "pgd-50")[:COMPARED]].tolist())]
    fooled = few[few["success"] & (few["pred_clean"] == few["y"])]
    rows = torch.isin(job.dataset.ids, torch.tensor(fooled["id"].to_numpy())).nonzero().flatten()
    found: Tables = {}
    if len(rows):
        found = yield job.tasks(pgd_50(attack), rows)
    gained = int((~_bare(found.values())["success"]).sum())
    both = int(few["success"].sum()) - gained
    paired = Paired(n=len(few), both=both, gained=gained, lost=0)
    for remark in named(paired, pgd="pgd-50", strong=attack.name):
        log.warning("%s", remark)
        said.append(remark)


def unless_weak(job: EvalJob, attack: Attack, remarks: Sequence[str], said: list[str]) -> Attack:
    """The attack, or its `full` ensemble where the lint doubts what a shorter one follows.

    Args:
        said: is given a remark on it.
    """
    against = doubts(remarks)
    if not is_short(attack) or not against:
        return attack
    said.append(because(attack, f"remark {against[0]}"))
    return at_full_length(job, attack)


def is_short(attack: Attack) -> bool:
    """Is it an ensemble that comes in a longer form, `full`?"""
    return attack.tier != "full" and attack.is_ensemble and attack.goal in FULL


def because(attack: Attack, why: str) -> str:
    """Remark that an ensemble was run at full length, and why; it is logged, too."""
    text = f"{attack.name}, tier {attack.tier}, was run on all images at tier full: {why}"
    log.warning("tier full: %s", why)
    return str(Remark("escalated", text))


def at_full_length(job: EvalJob, attack: Attack) -> Attack:
    """The battery's own ensemble of the goal at `full`; else the one of `FULL`."""
    threat, defended = attack.config.threat, job.defense_set is not None
    for battery in (job.battery, BatteryConfig(name=FULL[attack.goal], tier="full")):
        every = attacks_of(battery, threat, tier="full", defended=defended)
        own = [p for p in every if p.goal == attack.goal and p.tier == "full" and p.is_ensemble]
        if len(own) == 1:
            return own[0]
    raise AssertionError(f"no ensemble for {attack.goal}")


def drawn(job: EvalJob, ids: Tensor, name: str) -> Tensor:
    """Order in which examples are drawn, keyed by their ids alone."""
    return job.noise.fold(name).uniform(ids, (1,)).flatten().argsort()


def _bare(tables: Iterable[pa.Table]) -> "pd.DataFrame":
    return Outcomes.of(tables).where(defense="none").to_pandas()


def _is_adversary(attack: Attack) -> bool:
    """Is it an ensemble against the bare net, and not the canary?"""
    bare = attack.choice is None and all(stage.access is None for stage in attack.stages)
    ensemble = attack.is_ensemble and attack.name != CANARY_NAME
    return ensemble and bare and attack.goal == "adversarial"


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
        UnscorableError: some other attack found nothing to follow in any gradient of any example.
    """
    frame = outcomes.to_pandas()
    follows = {(attack.name, attack.tier) for attack in attacks if attack.follows}
    named = zip(frame["attack"], frame["tier"], strict=True)
    frame = frame.loc[[pair in follows for pair in named]]
    for attack, status in frame["status"].groupby(frame["attack"].astype(str)):
        if _is_void(status).all():
            kind = "zero" if status.str.startswith(ZERO).all() else "nan or infinite"
            told = f"net's gradients are {kind} everywhere"
            raise UnscorableError(f"{told}: {attack} cannot be scored")
