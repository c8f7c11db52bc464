"""Named sets of attacks."""

from dataclasses import dataclass

from fftune.config import AttackConfig, BatteryConfig, Goal, Loss, ThreatModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One attack of a battery, for one goal."""

    attack: str
    goal: Goal
    loss: Loss
    config: AttackConfig


def probes(battery: BatteryConfig, threat: ThreatModel) -> tuple[Probe, ...]:
    """The attacks that a battery stands for.

    `risks`: PGD for an adversary and for a false friend, with one and the same random start:
    the papers' columns A and F (Tao et al. 2022, A.2: 20 steps of eps / 4).
    """
    config = AttackConfig(threat=threat, steps=battery.steps)
    name = f"pgd-{battery.steps}"
    return (
        Probe(attack=name, goal="adversarial", loss="ce", config=config),
        Probe(attack=name, goal="hypocritical", loss="ce", config=config),
    )
