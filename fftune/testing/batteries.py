"""Conformance tests of batteries."""

from collections import Counter

from fftune.attacks import attack_spec
from fftune.attacks.losses import is_defined
from fftune.config import BatteryConfig, Norm, ThreatModel
from fftune.evaluation.batteries import Attack, attacks_of, battery_spec


def check_battery(battery: str, *, classes: int = 10, norm: Norm = "linf") -> None:
    """Check a battery in each of its tiers.

    Args:
        battery: its name, or `FILE.py:NAME`.
        classes: number of classes of the data set.
        norm: norm of the threat model.

    Raises:
        AssertionError: it ignores the threat model, gives two attacks the same key, names a loss
            that the attack or the goal does not have, an ensemble that its record does not name,
            or an escalating ensemble without a full one.
    """
    threat, spec = ThreatModel(norm=norm), battery_spec(battery)
    for tier in spec.tiers or (None,):
        attacks = attacks_of(BatteryConfig(name=battery), threat, classes=classes, tier=tier)
        keys = Counter((a.name, a.goal, a.target, a.tier, a.protocol) for a in attacks)
        twice = [key for key, count in keys.items() if count > 1]
        assert not twice, f"two attacks share the key {twice[0]}"
        for attack in attacks:
            _check(attack, threat)
            named = not spec.ensembles or not attack.is_ensemble or attack.name in spec.ensembles
            assert named, f"BatterySpec.ensembles lacks {attack.name!r}"
            escalates = attack.tier != "escalating" or "full" in spec.tiers
            assert escalates, f"{attack.name} escalates, and the battery has no tier 'full'"


def _check(attack: Attack, threat: ThreatModel) -> None:
    assert attack.stages, f"{attack.name} has no stages"
    for stage in attack.stages:
        search, spec = stage.config.search, attack_spec(stage.config.search)
        assert stage.config.threat == threat, f"{attack.name} has another threat model"
        assert threat.norm in spec.norms, f"{attack.name}: {search} cannot search {threat.norm}"
        has = stage.loss in spec.losses and is_defined(attack.goal, stage.loss)
        assert has, f"{attack.name}: {search} has no loss {stage.loss!r} for goal {attack.goal!r}"
    targeted = attack.goal == "targeted"
    assert (attack.target is not None) == targeted, f"{attack.name}: target and goal do not fit"
