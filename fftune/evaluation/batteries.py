"""Batteries: named sets of attacks.

`autoattack` is AutoAttack as published (Croce & Hein 2020): four attacks at their published
lengths. `ensemble` is our shorter one, whose rows are called "ensemble", and "autoattack" only at
tier `full`, where it is the same four; see `fftune.evaluation.tiers`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from fftune.attacks import attack_spec, protocol_of
from fftune.attacks.search_state import EARLY
from fftune.config import (
    AttackConfig,
    BatteryConfig,
    Goal,
    Loss,
    RowProtocol,
    ThreatModel,
    Tier,
)
from fftune.errors import ConfigError
from fftune.evaluation.choice import Choice
from fftune.evaluation.tiers import CANARY_SEARCHES, TIERS, AttackStage
from fftune.named_code import allow
from fftune.registry import BATTERIES, is_of_file, require_call

RAYS_QUERIES = 10_000
"""Queries of RayS in `nine`; Wu et al. 2021 print no budget, only that it takes 1,000 to 40,000."""
CW_STEPS = 20
"""Steps of C&W in `nine`, which Wu et al. 2021 do not print."""
DEEPFOOL_STEPS = 50
"""Steps of DeepFool in `nine`, which Wu et al. 2021 do not print."""

Scope = Literal["all", "wrong", "mistaken"]
Wanted = Callable[[str], bool]
"""Tells by its name in rows if an attack is run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One attack of a battery, for one goal: a search, or several, each on what the last left."""

    name: str
    goal: Goal
    stages: tuple[AttackStage, ...]
    """Searches in order; a later one tries the examples on which all earlier ones failed. Some may
    go through a defense, others to the bare net."""
    tier: Tier = "full"
    """Length of its stages; a shorter one than `full` is run again where that may find more."""
    scope: Scope = "all"
    """Examples that are attacked. `wrong`: only those that the net gets wrong when clean, D-.
    `mistaken`: also those that it gets wrong behind any of the draws of a defense that tell whose
    mistakes are whose."""
    target: int | None = None
    """The class of goal "targeted"."""
    choice: Choice | None = None
    """Choice among the points of its stages, each of which then searches all examples; None: each
    tries what the last left."""

    @property
    def config(self) -> AttackConfig:
        """Settings of the first stage."""
        return self.stages[0].config

    @property
    def protocol(self) -> RowProtocol:
        """Point that its stages hand over; `EARLY` where any of them is."""
        each = [protocol_of(stage.config) for stage in self.stages]
        return next((protocol for protocol in each if protocol in EARLY), each[-1])

    @property
    def is_ensemble(self) -> bool:
        """True where it has several stages."""
        return len(self.stages) > 1

    @property
    def is_plain(self) -> bool:
        """True where its first search's settings say all of it."""
        return not self.is_ensemble and self.stages[0].access is None and self.choice is None

    @property
    def follows(self) -> bool:
        """True where every stage asks for gradients."""
        return all(stage.follows for stage in self.stages)

    @property
    def needs_gradients(self) -> bool:
        """True where it tells nothing about a net without gradients.

        An ensemble of a shorter tier that finds none is searched again at `full`, by Square too.
        """
        return self.follows and not (self.is_ensemble and self.tier != "full")


class MakeAttacks(Protocol):
    """Function that builds the attacks of a battery."""

    def __call__(
        self, threat: ThreatModel, config: BatteryConfig, classes: int, /
    ) -> Sequence[Attack]:
        """Return the attacks.

        Args:
            threat: the ball of every attack.
            config: settings; `tier` is one of the battery's own.
            classes: number of classes of the data set.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BatterySpec:
    """Record of a battery: an entry of `fftune.registry.BATTERIES`, or `NAME` of `FILE.py:NAME`."""

    attacks: MakeAttacks
    tiers: tuple[Tier, ...] = ()
    """Tiers that its ensembles come in, the default first; none: its lengths are fixed."""
    ensembles: tuple[str, ...] = ()
    """Names of its attacks of several stages, beside which tables print the tier."""
    caveat: str = ""
    """Remark, `code: text`, that stands beside all its numbers."""
    reads_steps: bool = True
    """It reads `BatteryConfig.steps`; else its lengths are those of its sources or of its tier."""


def battery_spec(name: str) -> BatterySpec:
    """The record of a battery by its name; a plain function gets a record of defaults.

    Raises:
        ConfigError: there is no such battery, or it is no function.
    """
    entry: Any = BATTERIES[name]
    if isinstance(entry, BatterySpec):
        return entry
    if not callable(entry):
        kind = type(entry).__name__
        raise ConfigError(f"battery {name!r} must be a BatterySpec or a function, got {kind}")
    require_call(f"battery {name!r}", entry, None, None, None)
    return BatterySpec(attacks=entry)


def tier_of(battery: BatteryConfig) -> Tier | None:
    """The tier that a battery's ensembles have, its default resolved; None where it has none."""
    tiers = battery_spec(battery.name).tiers
    return battery.tier or (tiers[0] if tiers else None)


def attacks_of(
    battery: BatteryConfig,
    threat: ThreatModel,
    *,
    classes: int = 0,
    tier: Tier | None = None,
    defended: bool = False,
) -> tuple[Attack, ...]:
    """Build the attacks of a battery.

    Args:
        defended: their points are scored under defenses, too, where it matters which of several
            successes is handed over.
        classes: number of classes of the data set, for `targets`.
        tier: length of the ensembles; default the battery's own.

    Raises:
        ConfigError: the battery does not come in this tier, or a user's function returns something
            else than attacks.
    """
    spec = battery_spec(battery.name)
    config = replace(battery, tier=tier or tier_of(battery))
    attacks = tuple(spec.attacks(threat, config, classes))
    if not attacks or not all(isinstance(attack, Attack) for attack in attacks):
        raise ConfigError(f"battery {battery.name!r} must return one or more Attacks")
    if is_of_file(battery.name):
        allow(attacks)
    return tuple(map(_for_defenses, attacks)) if defended else attacks


def _for_defenses(attack: Attack) -> Attack:
    """Hand over what AutoAttack's own code does: the first success is the easiest to undo."""
    stages = [_last_success(stage) for stage in attack.stages]
    return replace(attack, stages=tuple(stages)) if attack.is_ensemble else attack


def _last_success(stage: AttackStage) -> AttackStage:
    early = protocol_of(stage.config) == "first_success"
    if not early or "last_success" not in attack_spec(stage.config.search).protocols:
        return stage
    return replace(stage, config=replace(stage.config, protocol="last_success"))


def _risks(threat: ThreatModel, config: BatteryConfig, _classes: int) -> tuple[Attack, ...]:
    return risks(threat, config.steps)


def risks(threat: ThreatModel, steps: int) -> tuple[Attack, ...]:
    """PGD for an adversary and for a false friend, with one and the same random start.

    The papers' columns A and F (Tao et al. 2022, A.2: 20 steps of eps / 4).
    """
    config = AttackConfig(threat=threat, steps=steps)
    return (
        single(f"pgd-{steps}", "adversarial", "ce", config),
        single(f"pgd-{steps}", "hypocritical", "ce", config),
    )


def nine(threat: ThreatModel) -> tuple[Attack, ...]:
    """The nine attacks of Wu et al. 2021, table 1, each on all examples (B.2; alg. 2: eps / 2).

    Those of AutoAttack hand over the points that its own code does.
    """
    pgd = AttackConfig(threat=threat, steps=20, step_size=threat.eps / 2)
    theirs = AttackConfig(threat=threat, protocol="last_success")
    apgd = replace(theirs, search="apgd", steps=100)
    deepfool = AttackConfig(threat=threat, search="deepfool", steps=DEEPFOOL_STEPS, targets=9)
    fab = replace(theirs, search="fab", steps=100, targets=9, start="none")
    random = {
        "square": replace(theirs, search="square", steps=5000, start="none"),
        "rays": AttackConfig(threat=threat, search="rays", steps=RAYS_QUERIES, start="none"),
    }
    if threat.norm != "linf":
        del random["rays"]
    return (
        single("pgd-20", "adversarial", "ce", pgd),
        single("cw", "adversarial", "margin", replace(pgd, search="cw", steps=CW_STEPS)),
        single("deepfool", "adversarial", "margin", deepfool),
        single("apgd-ce", "adversarial", "ce", apgd),
        single("apgd-t", "adversarial", "dlr", replace(apgd, targets=9)),
        single("fab-t", "adversarial", "margin", fab),
        *(single(name, "adversarial", "margin", config) for name, config in random.items()),
        ensemble(threat, "full"),
    )


def ensemble(threat: ThreatModel, tier: Tier) -> Attack:
    """AutoAttack (Croce & Hein 2020) at tier `full`; at others a shorter ensemble, named so."""
    stages = TIERS[tier].stages("adversarial", threat)
    name = "autoattack" if tier == "full" else "ensemble"
    return Attack(name=name, goal="adversarial", stages=stages, tier=tier)


def _ensemble(threat: ThreatModel, config: BatteryConfig, _classes: int) -> tuple[Attack, ...]:
    assert config.tier is not None  # resolved by `attacks_of`
    return (ensemble(threat, config.tier),)


def _hypocritical(threat: ThreatModel, config: BatteryConfig, _classes: int) -> tuple[Attack, ...]:
    assert config.tier is not None  # resolved by `attacks_of`
    return hypocritical(threat, config.tier)


def hypocritical(threat: ThreatModel, tier: Tier) -> tuple[Attack, ...]:
    """Tao et al. 2022, table 14, and "strong", an ensemble whose first stage is their PGD-20."""
    pgd = AttackConfig(threat=threat, steps=20)
    strong = (AttackStage(config=pgd, loss="ce"), *TIERS[tier].stages("hypocritical", threat))
    return (
        single("fgsm", "hypocritical", "ce", replace(pgd, search="fgsm", steps=1, start="none")),
        single("pgd-20", "hypocritical", "ce", pgd),
        single("pgd-100", "hypocritical", "ce", replace(pgd, steps=100)),
        single("cw-100", "hypocritical", "margin", replace(pgd, search="cw", steps=100)),
        Attack(name="strong", goal="hypocritical", stages=strong, tier=tier),
    )


def _audit(threat: ThreatModel, config: BatteryConfig, _classes: int) -> tuple[Attack, ...]:
    """A cheap attack and an ensemble for an adversary and for a false friend."""
    assert config.tier is not None  # resolved by `attacks_of`
    strong = hypocritical(threat, config.tier)[-1]
    return (*risks(threat, 20), ensemble(threat, config.tier), strong)


def _targets(threat: ThreatModel, config: BatteryConfig, classes: int) -> tuple[Attack, ...]:
    return targets(threat, config.steps, classes)


def targets(threat: ThreatModel, steps: int, classes: int) -> tuple[Attack, ...]:
    """PGD on D- towards every class, and towards each example's own (Tao et al. 2022, fig. 3)."""
    stage = AttackStage(config=AttackConfig(threat=threat, steps=steps), loss="ce")
    every = tuple(
        Attack(name=f"pgd-{steps}", goal="targeted", stages=(stage,), scope="wrong", target=target)
        for target in range(classes)
    )
    own = Attack(name=f"pgd-{steps}", goal="hypocritical", stages=(stage,), scope="wrong")
    return (*every, own)


def fast_at(threat: ThreatModel) -> tuple[Attack, ...]:
    """PGD on FastAT's ImageNet nets (Wu et al. 2021, table 3), ten restarts until one succeeds.

    Steps of 1/255 are those of FastAT's code (Wong et al. 2020); the table does not print any.
    """
    config = AttackConfig(threat=threat, step_size=1 / 255, restarts=10)
    return tuple(
        single(f"pgd-{steps}", "adversarial", "ce", replace(config, steps=steps))
        for steps in (10, 50, 100)
    )


def canary(attack: Attack) -> Attack:
    """FAB and Square, for the goal and the threat of an ensemble."""
    stages = CANARY_SEARCHES.stages(attack.goal, attack.config.threat)
    return replace(attack, name=CANARY_NAME, stages=stages)


def single(name: str, goal: Goal, loss: Loss, config: AttackConfig) -> Attack:
    """An attack of one search."""
    return Attack(name=name, goal=goal, stages=(AttackStage(config=config, loss=loss),))


def _fixed(make: Callable[[ThreatModel], Sequence[Attack]]) -> MakeAttacks:
    """Attacks without settings."""

    def attacks(threat: ThreatModel, _config: BatteryConfig, _classes: int) -> Sequence[Attack]:
        return make(threat)

    return attacks


CANARY_NAME = "canary"
ENSEMBLE_TIERS: tuple[Tier, ...] = ("escalating", "screen", "full")

RISKS = BatterySpec(attacks=_risks)
NINE = BatterySpec(attacks=_fixed(nine), ensembles=("autoattack",), reads_steps=False)
AUTOATTACK = BatterySpec(
    attacks=_fixed(lambda threat: (ensemble(threat, "full"),)),
    ensembles=("autoattack",),
    reads_steps=False,
)
ENSEMBLE = BatterySpec(
    attacks=_ensemble,
    tiers=ENSEMBLE_TIERS,
    ensembles=("ensemble", "autoattack", CANARY_NAME),
    reads_steps=False,
)
HYPOCRITICAL = BatterySpec(
    attacks=_hypocritical,
    tiers=ENSEMBLE_TIERS,
    ensembles=("strong", CANARY_NAME),
    reads_steps=False,
)
AUDIT = BatterySpec(
    attacks=_audit,
    tiers=ENSEMBLE_TIERS,
    ensembles=("ensemble", "autoattack", "strong", CANARY_NAME),
    reads_steps=False,
)
TARGETS = BatterySpec(attacks=_targets)
FAST_AT = BatterySpec(attacks=_fixed(fast_at), reads_steps=False)
