"""Tiers: how long the ensembles of attacks search, fixed before anything is run.

`screen` is for a first look. `escalating` runs the gradient attacks at lengths after which longer
ones rarely find more; FAB and Square then try a fixed few survivors, the canary, and where they
find anything, or gradients vanish, the whole set is searched again at `full`, which is all attacks
at their published lengths. For adversaries `full` is AutoAttack, and only that is called so; the
shorter ones are called "ensemble". The tier `standard` of version 0.1.0 is `escalating`.
"""

from dataclasses import dataclass, replace

from fftune.attacks import attack_spec, check_search
from fftune.config import AttackConfig, Loss, ThreatModel, Tier
from fftune.defenses import AdaptiveAccess

CANARY = 8
"""Number of survivors that the canary tries, of the whole set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Iterations of each attack of an ensemble; 0 leaves it out."""

    ce: int
    """Steps of APGD on the cross-entropy."""
    dlr: int
    """Steps of APGD on DLR; for an adversary, for each target."""
    margin: int
    """Steps of APGD on the margin, for false friends alone."""
    targets: int
    """Number of classes that an adversary's APGD-T and FAB aim at, at most classes - 1."""
    fab: int
    """Steps of FAB for each target."""
    square: int
    """Queries of Square."""

    def __str__(self) -> str:
        aimed = f"{self.targets} x "
        steps = {
            "APGD-CE": f"{self.ce}" if self.ce else "",
            "APGD-DLR": f"{self.dlr} (adversaries: {aimed}{self.dlr})" if self.dlr else "",
            "APGD-margin": f"{self.margin} (false friends)" if self.margin else "",
            "FAB": f"{self.fab} (adversaries: {aimed}{self.fab})" if self.fab else "",
            "Square": f"{self.square} queries" if self.square else "",
        }
        return ", ".join(f"{name} {length}" for name, length in steps.items() if length)


TIERS: dict[Tier, Lengths] = {
    "screen": Lengths(ce=20, dlr=20, margin=20, targets=3, fab=0, square=0),
    "escalating": Lengths(ce=100, dlr=50, margin=50, targets=9, fab=0, square=0),
    "full": Lengths(ce=100, dlr=100, margin=100, targets=9, fab=100, square=5000),
}
CANARY_LENGTHS = Lengths(ce=0, dlr=0, margin=0, targets=9, fab=20, square=1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackStage:
    """One search of an attack, and the loss that it climbs."""

    config: AttackConfig
    loss: Loss
    access: AdaptiveAccess | None = None
    """Access of an adaptive attacker, through a defence; None: to the bare net."""

    def __post_init__(self) -> None:
        check_search(self.config, self.loss)

    @property
    def follows(self) -> bool:
        """True where it asks for gradients."""
        return not attack_spec(self.config.search).gradient_free and self.config.steps > 0


def adversarial_stages(lengths: Lengths, threat: ThreatModel) -> tuple[AttackStage, ...]:
    """APGD-CE, APGD-T, FAB-T and Square (Croce & Hein 2020), each on what is still unbroken."""
    apgd = AttackConfig(threat=threat, search="apgd", protocol="first_success")
    return (
        *_stage(apgd, "ce", lengths.ce),
        *_stage(apgd, "dlr", lengths.dlr, lengths.targets),
        *_last(lengths, threat),
    )


def hypocritical_stages(lengths: Lengths, threat: ThreatModel) -> tuple[AttackStage, ...]:
    """APGD on DLR, margin and cross-entropy, FAB and Square, towards the true class.

    Where y ranks low DLR can pull the wrong logit; the margin cannot. The DLR comes first, as
    it decides most.
    """
    apgd = AttackConfig(threat=threat, search="apgd", protocol="first_success")
    return (
        *_stage(apgd, "dlr", lengths.dlr),
        *_stage(apgd, "margin", lengths.margin),
        *_stage(apgd, "ce", lengths.ce),
        *_last(lengths, threat),
    )


def _last(lengths: Lengths, threat: ThreatModel) -> tuple[AttackStage, ...]:
    fab = AttackConfig(threat=threat, search="fab", protocol="first_success", start="none")
    square = AttackConfig(threat=threat, search="square", protocol="first_success", start="none")
    return (
        *_stage(fab, "margin", lengths.fab, lengths.targets),
        *_stage(square, "margin", lengths.square),
    )


def _stage(
    config: AttackConfig, loss: Loss, steps: int, targets: int = 0
) -> tuple[AttackStage, ...]:
    return (AttackStage(config=replace(config, steps=steps, targets=targets), loss=loss),) * bool(
        steps
    )
