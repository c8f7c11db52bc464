"""In what order a case is examined, and when it is over; who does the work is no matter here.

A plan asks for tasks and is sent their tables: by a loop in this process, or by a pool of actors
that serves many plans at once.
"""

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import torch

from fftune.errors import ModelError
from fftune.evaluate.battery import Probe, canary, probes
from fftune.evaluate.case import Case, Task
from fftune.evaluate.tiers import CANARY
from fftune.outcomes import Outcomes
from fftune.risk import Rate

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

Tables = Mapping[Task, pa.Table]
Plan = Generator[Sequence[Task], Tables, Outcomes]


def plan(case: Case) -> Plan:
    """All probes on all blocks; then, once for the whole set, what the tiers demand.

    `standard` becomes `full` where the canary finds something that the gradient searches missed,
    or where gradients vanish.

    Raises:
        ModelError: an attack that follows gradients found all of them to be zero.
    """
    tables = yield [task for probe in case.probes for task in case.tasks(probe)]
    for probe in case.probes:
        if probe.tier == "standard":
            tables = yield from _escalated(case, probe, tables)
    outcomes = Outcomes.of(tables.values())
    _refuse_flat(outcomes)
    if any(probe.scope == "all" for probe in case.probes):
        _doubt_chance(outcomes, case.classes)
    return outcomes


def once(case: Case) -> Plan:
    """All probes on all blocks, whatever they are like: nothing is refused or searched again."""
    tables = yield [task for probe in case.probes for task in case.tasks(probe)]
    return Outcomes.of(tables.values())


def carry_out(plan: Plan, work: Callable[[Sequence[Task]], Tables]) -> Outcomes:
    """A plan to its end, by somebody who does what is asked at once."""
    try:
        tasks = next(plan)
        while True:
            tasks = plan.send(work(tasks))
    except StopIteration as end:
        outcomes: Outcomes = end.value
        return outcomes


def _escalated(
    case: Case, probe: Probe, tables: Tables
) -> Generator[Sequence[Task], Tables, Tables]:
    """Try FAB and Square on a fixed few survivors; the whole set at `full` if that helps."""
    searched = Outcomes.of(table for task, table in tables.items() if task.probe == probe)
    frame = searched.where(defense="none").to_pandas()
    survivors = torch.tensor(frame.loc[~frame["success"], "id"].to_numpy())
    draw = case.noise.fold("canary").uniform(survivors, (1,)).flatten()
    few = survivors[draw.argsort()[:CANARY]]
    rows = torch.isin(case.dataset.ids, few).nonzero().flatten()
    tried: Tables = {}
    if len(rows):
        tried = yield case.tasks(canary(probe), rows)
    found = Outcomes.of(tried.values()).where(defense="none").to_pandas()
    wins, flat = int(found["success"].sum()), int(_is_flat(frame["status"]).sum())
    log.info("canary: FAB and Square found %d of %d survivors", wins, len(rows))
    if not wins and not flat:
        return {**tables, **tried}
    log.warning("tier full: canary found %d, %d examples without gradients", wins, flat)
    again = yield case.tasks(_at_full_length(case, probe))
    others = {task: table for task, table in tables.items() if task.probe != probe}
    return {**others, **tried, **again}


def _at_full_length(case: Case, probe: Probe) -> Probe:
    every = probes(case.battery, probe.config.threat, tier="full")
    (full,) = (p for p in every if p.goal == probe.goal and p.tier == "full" and len(p.parts) > 1)
    return full


def _is_flat(status: "pd.Series[str]") -> "pd.Series[bool]":
    return status.str.startswith("zero-gradient")


def _doubt_chance(outcomes: Outcomes, classes: int) -> None:
    """Say so where the clean net is no better than a guess: images or scaling may be others'."""
    frame = outcomes.to_pandas().drop_duplicates("id")
    right = Rate(int((frame["pred_clean"] == frame["y"]).sum()), len(frame))
    if right.n and right.interval[0] <= 1 / classes:
        log.warning(
            "clean accuracy %s is no better than chance, 1 of %d: are these the net's images, "
            "in [0, 1], its labels in this order, and its normalisation inside it?",
            right,
            classes,
        )


def _refuse_flat(outcomes: Outcomes) -> None:
    """A net without gradients looks robust to every search that follows them.

    Only what holds a search without gradients can still be scored: the canary, and ensembles at
    full length.

    Raises:
        ModelError: some other attack found all gradients of all examples to be zero.
    """
    frame = outcomes.to_pandas()
    ensemble = frame["attack"].isin(["strong", "autoattack"]) & (frame["tier"] == "full")
    frame = frame[~ensemble & (frame["attack"] != "canary")]
    flat = _is_flat(frame["status"])
    for attack, share in flat.groupby(frame["attack"].astype(str)).mean().items():
        if share == 1:
            raise ModelError(f"net's gradients are zero everywhere: {attack} cannot be scored")
