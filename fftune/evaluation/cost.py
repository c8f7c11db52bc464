"""Cost of an evaluation before it runs: passes of examples, and hours."""

from collections.abc import Sequence

from fftune.config import (
    BatteryConfig,
    DataSpec,
    DefenseConfig,
    InputSpec,
    ModelSpec,
    Split,
    ThreatModel,
    TrainConfig,
)
from fftune.data.catalog import place_framed
from fftune.errors import ConfigError
from fftune.evaluation.adaptive import adaptive_attacks
from fftune.evaluation.batteries import Attack, attacks_of
from fftune.evaluation.cost_model import passes
from fftune.evaluation.defended import DefenseSet
from fftune.hardware import CardName
from fftune.models.specs import OURS
from fftune.training.cost import Work
from fftune.training.hours import Job, told


def describe(
    nets: Sequence[ModelSpec],
    data: DataSpec,
    split: Split,
    battery: BatteryConfig,
    *,
    threat: ThreatModel,
    defense: DefenseConfig,
    seeds: int = 1,
    on: CardName | None = None,
    cards: int | None = None,
) -> str:
    """Describe what the evaluation of some nets would cost, were none of its blocks known.

    Points of `battery.transfer` are left out, as are the tiers that an ensemble may go on to.

    Args:
        seeds: seeds of the attackers, each a whole run.
        on: card of which the hours are told; None is the device at hand.
        cards: number of cards; None tells those of several numbers.

    Raises:
        DataError: the data are missing.
    """
    found = place_framed(data, split)
    examples = min(len(found.rows), battery.examples or len(found.rows))
    each, attacks = work_of(battery, threat, defense, found.inputs.classes)
    jobs = [Job(training=Work(), evaluation=each * (examples * seeds))] * len(nets)
    every = sum((job.evaluation for job in jobs), start=Work()).passes
    counts = [
        f"{len(nets)} net{'s' if len(nets) > 1 else ''}",
        f"{examples:,} of {len(found.rows):,} images of {split}",
        f"{attacks} attacks" + (f" under {seeds} seeds" if seeds > 1 else ""),
        str(every),
    ]
    return f"{', '.join(counts)}\n{_hours(jobs, nets[0], data, battery, found.inputs, on, cards)}"


def work_of(
    battery: BatteryConfig, threat: ThreatModel, defense: DefenseConfig, classes: int
) -> tuple[Work, int]:
    """Passes of one example under a battery and behind defenses, roughly; number of attacks.

    No attack is taken to succeed early, and every example to be attacked for both goals.
    """
    attacks = list(attacks_of(battery, threat, classes=classes, defended=defense.is_any))
    behind = DefenseSet.of(defense, threat, source="", split="", attacks=len(attacks))
    if behind is not None:
        attacks += adaptive_attacks(attacks, behind, threat)
    work = Work()
    for attack in attacks:
        scored = 0 if behind is None else behind.passes(attack.name)
        work += attack_work(attack) + Work(forwards=scored)
    return work, len(attacks)


def attack_work(attack: Attack) -> Work:
    """Passes of one example under an attack that never succeeds early, roughly.

    A gradient takes as long as two forward passes.
    """
    taken = round(passes(attack))
    return Work(forwards=1, crafts=taken // 3) if attack.follows else Work(forwards=taken)


def _hours(
    jobs: Sequence[Job],
    net: ModelSpec,
    data: DataSpec,
    battery: BatteryConfig,
    inputs: InputSpec,
    on: CardName | None,
    cards: int | None,
) -> str:
    """Describe the hours of nets like the first."""
    try:
        like = TrainConfig(
            model=net.factory.removeprefix(OURS),
            width=net.width,
            constants=net.constants,
            data=data,
            device=battery.device,
            threads=battery.threads,
        )
    except ConfigError as error:
        return f"no hours: {error}"
    return told(jobs, like, on, cards, inputs=inputs)
