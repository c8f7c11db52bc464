"""Certified bounds as rows: for every example, whether any attack at all could succeed on it.

The rows say what could at most be fooled or concealed, where those of attacks say what was. Their
protocol is "certified"; tables call them a certified bound, and no worst case of attacks has them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from fftune.certified.graph import graph_of
from fftune.certified.interval import reach_of
from fftune.certified.linf_dist import bounds_of, stays_right, stays_wrong
from fftune.certified.margins import decide
from fftune.certified.smoothing import certify
from fftune.config import AttackConfig, BatteryConfig, RowProtocol, ThreatModel
from fftune.defenses.smoothing import Smoothing
from fftune.errors import ConfigError
from fftune.evaluation.batteries import Attack, BatterySpec, risks
from fftune.evaluation.defended import DefendedPrediction, DefenseSet
from fftune.evaluation.tiers import AttackStage
from fftune.keyed_noise import ExampleNoise
from fftune.models.linf_dist import LinfDist
from fftune.outcomes import CERTIFIED

LATE, UNKNOWN = "out-of-time", "no-bound"
"""Statuses of rows that are open because the time was over; because the bare net has no bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate(Attack):
    """Bound on what any attack of a goal could reach, which stands in a battery like an attack."""

    seconds: float = 5.0
    """See `BatteryConfig.certify_seconds`."""
    copies: int = 1000
    """See `BatteryConfig.certify_copies`."""
    is_smoothed: bool = False
    """It bounds a smoothed net; the bare net is bounded where that can be done."""

    @property
    def protocol(self) -> RowProtocol:
        """Protocol of its rows, by which all tables tell them from what an attack found."""
        return CERTIFIED


def certificates(
    threat: ThreatModel, *, seconds: float = 5.0, copies: int = 1000
) -> tuple[Certificate, ...]:
    """Bounds for an adversary and for a false friend.

    Args:
        seconds, copies: see `BatteryConfig.certify_seconds` and `certify_copies`.

    Raises:
        ConfigError: the ball is not cut to [0, 1].
    """
    if not threat.clamp:
        raise ConfigError("clamp must be on for battery 'certified', got False")
    nothing = AttackConfig(threat=threat, steps=0, start="none")  # it does not search
    stages = (AttackStage(config=nothing, loss="ce"),)
    adversary = Certificate(
        name=CERTIFIED, goal="adversarial", stages=stages, seconds=seconds, copies=copies
    )
    return adversary, replace(adversary, goal="hypocritical")


def behind(defense_set: DefenseSet | None, attack: Attack) -> Attack:
    """The attack itself; a bound, told that it is of a smoothed net where there is one.

    Raises:
        ConfigError: a bound behind another defense, or of a smoothed net in another norm than l2.
    """
    if defense_set is None or not isinstance(attack, Certificate):
        return attack
    smoothed = all(isinstance(one, Smoothing) for one in defense_set.defenses.values())
    if not smoothed or attack.config.threat.norm != "l2":
        rule = "must be left out to certify, or smoothing alone, in l2"
        raise ConfigError(f"defense.names {rule}, got {', '.join(defense_set.defenses)}")
    return replace(attack, is_smoothed=True)


def refuse_uncertifiable(certificate: Certificate, net: nn.Module, x: Tensor) -> None:
    """Refuse, in one line, a net that has no bound, unless it is smoothed.

    Args:
        x: (B, C, H, W), an image or a few.

    Raises:
        ConfigError, ModelError: see `bounds_of` and `graph_of`.
    """
    if isinstance(net, LinfDist) and not certificate.is_smoothed:
        bounds_of(net, x, threat=certificate.config.threat)
    elif not certificate.is_smoothed:
        graph_of(net, x)


def at_worst(
    certificate: Certificate, net: nn.Module, x: Tensor, y: Tensor, z: Tensor
) -> tuple[Tensor, tuple[str, ...]]:
    """Predict what the net answers at worst in the ball, as far as the bound can tell.

    Args:
        certificate: of `linf_dist` nets by their Lipschitz constant, of others by
            `fftune.certified.margins`.
        x: (B, C, H, W) clean images.
        y: (B,) int64, true classes.
        z: (B, K) the net's logits of x.

    Returns:
        (B,) int64. Where the bound rules out that the attack changes right to wrong, or wrong to
        right, the clean prediction; else, for an adversary the likeliest wrong class, for a false
        friend y. And a status for each row.

    Raises:
        ConfigError, ModelError: see `refuse_uncertifiable`.
    """
    threat, adversary = certificate.config.threat, certificate.goal == "adversarial"
    status = ["ok"] * len(y)
    if isinstance(net, LinfDist) and threat.norm == "linf":
        stays = stays_right if adversary else stays_wrong
        kept = stays(z, y, **bounds_of(net, x, threat=threat))
    else:
        try:
            found = decide(
                net,
                x,
                y,
                threat=threat,
                kept="right" if adversary else "wrong",
                seconds=certificate.seconds,
            )
        except ConfigError:
            if not certificate.is_smoothed:
                raise
            kept, status = torch.zeros_like(y, dtype=torch.bool), [UNKNOWN] * len(y)
        else:
            kept = found.kept
            status = [LATE if late else "ok" for late in found.late.tolist()]
    return _worst(certificate, kept, z.argmax(1), _rival(z, y), y), tuple(status)


def smoothed_at_worst(
    certificate: Certificate,
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    noise: ExampleNoise,
    drawn: Sequence[DefendedPrediction],
) -> list[DefendedPrediction]:
    """Predict what a smoothed net answers at worst in the ball (Cohen et al. 2019, theorem 1).

    A mistake stays one, too, where the class that is certified is not y. Certificates are of the
    vote of infinitely many copies, and wrong with probability `smoothing.ALPHA` each.

    Args:
        drawn: predictions of x under each draw of smoothing.
    """
    found = []
    radii: dict[str, tuple[Tensor, Tensor]] = {}
    for one in drawn:
        assert isinstance(one.defense, Smoothing)
        if one.name not in radii:
            config = replace(one.defense.config, votes=certificate.copies)
            radii[one.name] = certify(net, x, config=config, noise=noise.noise, ids=noise.ids)
        top, radius = radii[one.name]
        kept = (radius >= reach_of(certificate.config.threat)).to(y.device) & (top == one.pred)
        rival = torch.where(one.pred == y, (y + 1) % 2, one.pred)
        found.append(replace(one, pred=_worst(certificate, kept, one.pred, rival, y)))
    return found


def _rival(z: Tensor, y: Tensor) -> Tensor:
    return z.scatter(1, y[:, None], -torch.inf).argmax(1)


def _worst(
    certificate: Certificate, kept: Tensor, pred: Tensor, rival: Tensor, y: Tensor
) -> Tensor:
    """Predictions at worst, where `kept` marks those that stay right, or wrong."""
    if certificate.goal == "adversarial":
        return torch.where((pred == y) & ~kept, rival, pred)
    return torch.where((pred != y) & ~kept, y, pred)


def _attacks(threat: ThreatModel, config: BatteryConfig, _classes: int) -> Sequence[Attack]:
    seconds, copies = config.certify_seconds, config.certify_copies
    bounds = certificates(threat, seconds=seconds, copies=copies)
    return (*risks(threat, config.steps), *bounds)


BATTERY = BatterySpec(attacks=_attacks)
"""Bounds, beside what PGD finds (Tao et al. 2022, table 16)."""
