"""A cheap second opinion on a net: the attack CR, for adversaries and for false friends."""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, log

from fftune.config import AttackConfig, BatteryConfig, ThreatModel
from fftune.evaluation.batteries import Attack, BatterySpec, single

CAVEAT = (
    "second-opinion: CR finds in a few passes what longer searches find on most nets, and is no "
    "replacement for them: its accuracy less AutoAttack's was -1.07 to +21.8 points on 186 nets of "
    "its authors' FastAT Benchmark"
)
"""Remark beside its numbers. The range is that of single seeds; three of the 186 nets lie more
than half a point above, one of ELLE and two of NuAT, all of which PGD-50 overrates by 8 points or
more."""


def second_opinion(threat: ThreatModel, classes: int) -> tuple[Attack, Attack]:
    """CR as the FastAT Benchmark (2026) runs it: 150 steps, five starts, ln K classes, rounded up.

    Args:
        classes: number of classes K of the data set.
    """
    config = AttackConfig(threat=threat, search="cr", steps=150, restarts=5)
    aimed = replace(config, targets=max(ceil(log(max(classes, 1))), 1))
    return (
        single("cr", "adversarial", "margin", aimed),
        single("cr", "hypocritical", "margin", config),
    )


def _attacks(threat: ThreatModel, _config: BatteryConfig, classes: int) -> Sequence[Attack]:
    return second_opinion(threat, classes)


BATTERY = BatterySpec(attacks=_attacks, caveat=CAVEAT, reads_steps=False)
