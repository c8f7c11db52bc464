"""Named sets of attacks."""

from dataclasses import dataclass, replace
from typing import Literal

from fftune.config import AttackConfig, BatteryConfig, Goal, Loss, Protocol, ThreatModel, Tier
from fftune.defenses import AdaptiveAccess
from fftune.evaluation.tiers import (
    CANARY_LENGTHS,
    TIERS,
    AttackStage,
    adversarial_stages,
    hypocritical_stages,
)

RAYS_QUERIES = 10_000
"""Of `nine`; P2 prints no budget, only that RayS takes 1,000 to 40,000."""
CW_STEPS = 20
DEEPFOOL_STEPS = 50
"""Of `nine`; P2 prints neither, so these are ours."""

Scope = Literal["all", "wrong", "mistaken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One attack of a battery, for one goal: a search, or several on what the last one left."""

    name: str
    goal: Goal
    stages: tuple[AttackStage, ...]
    tier: Tier = "full"
    scope: Scope = "all"
    """`wrong`: only examples that the net gets wrong when clean, D-. `mistaken`: also those that
    it gets wrong behind the first draw of a defence."""
    target: int | None = None
    """The class of goal "targeted"."""
    through: AdaptiveAccess | None = None
    """How an attacker who knows a defence asks the net; none asks the bare one."""

    @property
    def config(self) -> AttackConfig:
        """The first part's."""
        return self.stages[0].config

    @property
    def protocol(self) -> Protocol:
        """`fixed` where every part is."""
        fixed = all(part.config.protocol == "fixed" for part in self.stages)
        return "fixed" if fixed else "strong"

    @property
    def needs_gradients(self) -> bool:
        """Whether it says nothing of a net without them.

        At tier `standard` an ensemble that finds none is searched again at `full`, by Square too.
        """
        return self.tier != "standard" and all(part.follows for part in self.stages)


def attacks_of(
    battery: BatteryConfig, threat: ThreatModel, *, classes: int = 0, tier: Tier | None = None
) -> tuple[Attack, ...]:
    """The attacks that a battery stands for.

    Args:
        classes: how many the net tells apart, for `targets`.
        tier: of the ensembles; default the battery's own.
    """
    tier = tier or battery.tier
    match battery.name:
        case "risks":
            return risks(threat, battery.steps)
        case "nine":
            return nine(threat)
        case "autoattack":
            return (autoattack(threat, tier),)
        case "hypocritical":
            return hypocritical(threat, tier)
        case "targets":
            return targets(threat, battery.steps, classes)
        case "fast_at":
            return fast_at(threat)


def risks(threat: ThreatModel, steps: int) -> tuple[Attack, ...]:
    """PGD for an adversary and for a false friend, with one and the same random start.

    The papers' columns A and F (Tao et al. 2022, A.2: 20 steps of eps / 4).
    """
    config = AttackConfig(threat=threat, steps=steps)
    return (
        _single(f"pgd-{steps}", "adversarial", "ce", config),
        _single(f"pgd-{steps}", "hypocritical", "ce", config),
    )


def nine(threat: ThreatModel) -> tuple[Attack, ...]:
    """The nine attacks of Wu et al. 2021, table 1, each on all examples (B.2; alg. 2: eps / 2)."""
    pgd = AttackConfig(threat=threat, steps=20, step_size=threat.eps / 2)
    apgd = AttackConfig(threat=threat, search="apgd", steps=100)
    deepfool = AttackConfig(threat=threat, search="deepfool", steps=DEEPFOOL_STEPS, targets=9)
    fab = AttackConfig(threat=threat, search="fab", steps=100, targets=9, start="none")
    random = {
        "square": AttackConfig(threat=threat, search="square", steps=5000, start="none"),
        "rays": AttackConfig(threat=threat, search="rays", steps=RAYS_QUERIES, start="none"),
    }
    if threat.norm != "linf":
        del random["rays"]
    return (
        _single("pgd-20", "adversarial", "ce", pgd),
        _single("cw", "adversarial", "margin", replace(pgd, search="cw", steps=CW_STEPS)),
        _single("deepfool", "adversarial", "margin", deepfool),
        _single("apgd-ce", "adversarial", "ce", apgd),
        _single("apgd-t", "adversarial", "dlr", replace(apgd, targets=9)),
        _single("fab-t", "adversarial", "margin", fab),
        *(_single(name, "adversarial", "margin", config) for name, config in random.items()),
        autoattack(threat, "full"),
    )


def autoattack(threat: ThreatModel, tier: Tier) -> Attack:
    """Croce & Hein 2020, which only the full length may be called."""
    stages = adversarial_stages(TIERS[tier], threat)
    name = "autoattack" if tier == "full" else "strong"
    return Attack(name=name, goal="adversarial", stages=stages, tier=tier)


def hypocritical(threat: ThreatModel, tier: Tier) -> tuple[Attack, ...]:
    """Tao et al. 2022, table 14, and `strong`, whose first part is their PGD-20 itself."""
    pgd = AttackConfig(threat=threat, steps=20)
    strong = (AttackStage(config=pgd, loss="ce"), *hypocritical_stages(TIERS[tier], threat))
    return (
        _single("fgsm", "hypocritical", "ce", replace(pgd, search="fgsm", steps=1, start="none")),
        _single("pgd-20", "hypocritical", "ce", pgd),
        _single("pgd-100", "hypocritical", "ce", replace(pgd, steps=100)),
        _single("cw-100", "hypocritical", "margin", replace(pgd, search="cw", steps=100)),
        Attack(name="strong", goal="hypocritical", stages=strong, tier=tier),
    )


def targets(threat: ThreatModel, steps: int, classes: int) -> tuple[Attack, ...]:
    """Tao et al. 2022, fig. 3: on D-, towards every class, and towards each example's own."""
    part = AttackStage(config=AttackConfig(threat=threat, steps=steps), loss="ce")
    every = tuple(
        Attack(name=f"pgd-{steps}", goal="targeted", stages=(part,), scope="wrong", target=target)
        for target in range(classes)
    )
    own = Attack(name=f"pgd-{steps}", goal="hypocritical", stages=(part,), scope="wrong")
    return (*every, own)


def fast_at(threat: ThreatModel) -> tuple[Attack, ...]:
    """Wu et al. 2021, table 3: PGD on FastAT's ImageNet nets, ten restarts until one succeeds.

    Steps of 1/255 are those of FastAT's code (Wong et al. 2020); the table does not print any.
    """
    config = AttackConfig(threat=threat, step_size=1 / 255, restarts=10)
    return tuple(
        _single(f"pgd-{steps}", "adversarial", "ce", replace(config, steps=steps))
        for steps in (10, 50, 100)
    )


def canary(attack: Attack) -> Attack:
    """FAB and Square, for the goal and the threat of an ensemble."""
    stages = adversarial_stages if attack.goal == "adversarial" else hypocritical_stages
    return replace(attack, name="canary", stages=stages(CANARY_LENGTHS, attack.config.threat))


def _single(attack: str, goal: Goal, loss: Loss, config: AttackConfig) -> Attack:
    return Attack(name=attack, goal=goal, stages=(AttackStage(config=config, loss=loss),))
