"""Certified bounds as rows: for every example, whether any attack at all could succeed on it.

The rows say what could at most be fooled or concealed, where those of attacks say what was. Their
protocol is "certified"; tables call them a certified bound, and no worst case of attacks has them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fftune.certified import bounds_of, stays_right, stays_wrong
from fftune.config import AttackConfig, BatteryConfig, RowProtocol, ThreatModel
from fftune.errors import ConfigError
from fftune.evaluation.batteries import Attack, BatterySpec, risks
from fftune.evaluation.tiers import AttackStage
from fftune.outcomes import CERTIFIED


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate(Attack):
    """Bound on what any attack of a goal could reach, which stands in a battery like an attack."""

    @property
    def protocol(self) -> RowProtocol:
        """Protocol of its rows, by which all tables tell them from what an attack found."""
        return CERTIFIED


def certificates(threat: ThreatModel) -> tuple[Certificate, ...]:
    """Bounds for an adversary and for a false friend (Tao et al. 2022, corollary G.1).

    Raises:
        ConfigError: the norm is not linf.
    """
    if threat.norm != "linf":
        raise ConfigError(f"norm must be 'linf' for battery 'certified', got {threat.norm!r}")
    nothing = AttackConfig(threat=threat, steps=0, start="none")  # it does not search
    stage = AttackStage(config=nothing, loss="ce")
    return (
        Certificate(name=CERTIFIED, goal="adversarial", stages=(stage,)),
        Certificate(name=CERTIFIED, goal="hypocritical", stages=(stage,)),
    )


def at_worst(certificate: Certificate, net: nn.Module, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Predict what the net answers at worst in the ball, as far as the bound can tell.

    Args:
        x: (B, C, H, W) clean images.
        y: (B,) int64, true classes.
        z: (B, K) the net's logits of x.

    Returns:
        (B,) int64. Where the bound rules out that the attack changes right to wrong, or wrong to
        right, the clean prediction; else, for an adversary the likeliest wrong class, for a false
        friend y.

    Raises:
        ConfigError, ModelError: the net cannot be certified; see `fftune.certified.certify`.
    """
    bounds = bounds_of(net, x, threat=certificate.config.threat)
    pred = z.argmax(1)
    if certificate.goal == "adversarial":
        rival = z.scatter(1, y[:, None], -torch.inf).argmax(1)
        changes = (pred == y) & ~stays_right(z, y, **bounds)
        return torch.where(changes, rival, pred)
    changes = (pred != y) & ~stays_wrong(z, y, **bounds)
    return torch.where(changes, y, pred)


def _attacks(threat: ThreatModel, config: BatteryConfig, _classes: int) -> Sequence[Attack]:
    return (*risks(threat, config.steps), *certificates(threat))


BATTERY = BatterySpec(attacks=_attacks)
"""Bounds, beside what PGD finds (Tao et al. 2022, table 16)."""
