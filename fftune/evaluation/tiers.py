"""How long the ensembles search: fixed constants, chosen before anything was timed.

`screen` is for a first look. `standard` runs the gradient searches at lengths after which longer
ones rarely find more; FAB and Square then try a fixed few survivors, the canary, and where they
find anything, or gradients vanish, the whole set is searched again at `full`, which is all parts
at their published lengths: only that is called AutoAttack.
"""

from dataclasses import dataclass, replace

from fftune.config import AttackConfig, Loss, ThreatModel, Tier

CANARY = 8
"""Survivors that the canary tries, of the whole set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Iterations of each part; 0 leaves it out."""

    ce: int
    """APGD on the cross-entropy."""
    dlr: int
    """APGD on DLR; for an adversary, of each target."""
    margin: int
    targets: int
    """Classes that an adversary's APGD-T and FAB aim at, at most classes - 1."""
    fab: int
    """Of each target."""
    square: int
    """Queries."""

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
    "standard": Lengths(ce=100, dlr=50, margin=50, targets=9, fab=0, square=0),
    "full": Lengths(ce=100, dlr=100, margin=100, targets=9, fab=100, square=5000),
}
CANARY_LENGTHS = Lengths(ce=0, dlr=0, margin=0, targets=9, fab=20, square=1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackStage:
    """One search of an attack, and the loss that it climbs."""

    config: AttackConfig
    loss: Loss

    @property
    def follows(self) -> bool:
        """Whether it asks for gradients."""
        return self.config.search not in ("square", "rays") and self.config.steps > 0


def adversarial_stages(lengths: Lengths, threat: ThreatModel) -> tuple[AttackStage, ...]:
    """APGD-CE, APGD-T, FAB-T and Square (Croce & Hein 2020), on what is still unbroken."""
    apgd = AttackConfig(threat=threat, search="apgd", protocol="strong")
    return (
        *_stage(apgd, "ce", lengths.ce),
        *_stage(apgd, "dlr", lengths.dlr, lengths.targets),
        *_last(lengths, threat),
    )


def hypocritical_stages(lengths: Lengths, threat: ThreatModel) -> tuple[AttackStage, ...]:
    """The same for a false friend, who has one target: APGD on all three losses, FAB, Square.

    Where y ranks low DLR can pull the wrong logit; the margin cannot. The DLR comes first, as
    it decides most.
    """
    apgd = AttackConfig(threat=threat, search="apgd", protocol="strong")
    return (
        *_stage(apgd, "dlr", lengths.dlr),
        *_stage(apgd, "margin", lengths.margin),
        *_stage(apgd, "ce", lengths.ce),
        *_last(lengths, threat),
    )


def _last(lengths: Lengths, threat: ThreatModel) -> tuple[AttackStage, ...]:
    fab = AttackConfig(threat=threat, search="fab", protocol="strong", start="none")
    square = AttackConfig(threat=threat, search="square", protocol="strong", start="none")
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
