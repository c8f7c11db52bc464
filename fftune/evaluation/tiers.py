"""Tiers: which searches the ensembles of attacks make, fixed before anything is run.

`screen` is for a first look. `escalating` runs the gradient attacks after which longer ones rarely
find more; FAB and Square then try survivors, as many as `evaluation.canary` says, and where they
find anything the whole set is searched again at `full`, which is all attacks at their published
lengths. So it is after either tier where the lint doubts gradients or answers, where gradients
vanish, and where PGD in the whole box leaves survivors. For adversaries `full` is AutoAttack, and
only that is called so; the shorter ones are called "ensemble". The tier `standard` of version
0.1.0 is `escalating`.

What each search newly finds for each pass was measured on eight nets, and what was chosen by it was
tested on others (`experiments/2026-11-27-tiers.py`): adversaries' `screen` and false friends'
`escalating` are those. Adversaries' shorter `escalating` found less on a net whose gradients
mislead, false friends' shorter `screen` on an overfitted one, and were not taken.
"""

from dataclasses import dataclass

from torch import Tensor

from fftune.attacks import attack_spec, check_search
from fftune.config import AttackConfig, Goal, Loss, ThreatModel, Tier
from fftune.defenses import AdaptiveAccess
from fftune.errors import ConfigError
from fftune.registry import is_of_file
from fftune.threat import is_inside


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackStage:
    """One search of an attack, and the loss that it climbs."""

    config: AttackConfig
    loss: Loss
    access: AdaptiveAccess | None = None
    """Access of an adaptive attacker, through a defense; None: to the bare net."""

    def __post_init__(self) -> None:
        check_search(self.config, self.loss)

    @property
    def follows(self) -> bool:
        """True where it asks for gradients."""
        return not attack_spec(self.config.search).gradient_free and self.config.steps > 0

    def require_inside(self, x_pert: Tensor, x: Tensor) -> None:
        """Refuse points of (B, C, H, W) that lie outside the ball around x.

        Raises:
            ConfigError: an attack of the user's handed them over.
            AssertionError: one of ours did, which is a defect.
        """
        if not is_inside(x_pert, x, self.config.threat):
            kind = ConfigError if is_of_file(self.config.search) else AssertionError
            raise kind(f"attack {self.config.search!r} left the ball of {self.config.threat}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One search of an ensemble in any ball, which stops an example at its first success."""

    search: str
    loss: Loss
    steps: int
    """Iterations; for Square, queries."""
    targets: int = 0
    """Number of the likeliest other classes that an adversary aims at, at most classes - 1; 0:
    none."""

    def within(self, threat: ThreatModel) -> AttackStage:
        """The search of this ball."""
        config = AttackConfig(
            threat=threat,
            search=self.search,
            steps=self.steps,
            targets=self.targets,
            start="uniform" if self.search == "apgd" else "none",
            protocol="first_success",
        )
        return AttackStage(config=config, loss=self.loss)

    def __str__(self) -> str:
        aimed = f"{self.targets} x " if self.targets else ""
        match self.search:
            case "apgd":
                return f"APGD-{TOLD.get(self.loss, self.loss)} {aimed}{self.steps}"
            case "fab":
                return f"FAB {aimed}{self.steps}"
            case _:
                return f"Square {self.steps} queries"


TOLD: dict[Loss, str] = {"ce": "CE", "dlr": "DLR"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """Searches for each goal, in order; a later one tries what all earlier ones left."""

    adversarial: tuple[Part, ...]
    hypocritical: tuple[Part, ...]

    def parts(self, goal: Goal) -> tuple[Part, ...]:
        """The searches for an adversary, else those for a false friend."""
        return self.adversarial if goal == "adversarial" else self.hypocritical

    def stages(self, goal: Goal, threat: ThreatModel) -> tuple[AttackStage, ...]:
        """The same in a ball."""
        return tuple(part.within(threat) for part in self.parts(goal))

    def told(self, goal: Goal) -> str:
        """The same for a reader."""
        return ", ".join(str(part) for part in self.parts(goal))


def _apgd(loss: Loss, steps: int, targets: int = 0) -> Part:
    return Part(search="apgd", loss=loss, steps=steps, targets=targets)


def _fab(steps: int, targets: int = 0) -> Part:
    return Part(search="fab", loss="margin", steps=steps, targets=targets)


def _square(queries: int) -> Part:
    return Part(search="square", loss="margin", steps=queries)


TIERS: dict[Tier, Ensemble] = {
    "screen": Ensemble(
        adversarial=(_apgd("dlr", 10, targets=3), _apgd("ce", 10), _apgd("margin", 30)),
        hypocritical=(_apgd("dlr", 20), _apgd("margin", 20), _apgd("ce", 20)),
    ),
    "escalating": Ensemble(
        adversarial=(_apgd("ce", 100), _apgd("dlr", 50, targets=9)),
        hypocritical=(_apgd("dlr", 20), _apgd("margin", 10), _apgd("dlr", 100)),
    ),
    # AutoAttack as published (Croce & Hein 2020), and the same length for false friends, for whom
    # DLR can pull the wrong logit where y ranks low; the margin cannot.
    "full": Ensemble(
        adversarial=(
            _apgd("ce", 100),
            _apgd("dlr", 100, targets=9),
            _fab(100, targets=9),
            _square(5000),
        ),
        hypocritical=(
            _apgd("dlr", 100),
            _apgd("margin", 100),
            _apgd("ce", 100),
            _fab(100),
            _square(5000),
        ),
    ),
}
CANARY_SEARCHES = Ensemble(
    adversarial=(_fab(20, targets=9), _square(1000)), hypocritical=(_fab(20), _square(1000))
)
