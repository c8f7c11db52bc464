"""Adaptive attacks: attackers who know that a defense will be applied."""

from collections.abc import Sequence
from dataclasses import replace

from fftune.config import AttackConfig, Goal, Loss, ThreatModel
from fftune.defenses import AdaptiveAccess, Defense
from fftune.evaluation.batteries import Attack, Scope, single
from fftune.evaluation.choice import Choice
from fftune.evaluation.defended import CLEAN, RANDOM_START, DefenseSet, Effort
from fftune.evaluation.tiers import AttackStage

AWARE = ("adaptive", "aware", "eot", "known", "pgd-hedged", "label-free")
"""Name prefixes of adaptive attacks."""
MORE_DRAWS = 5
"""Factor of an attacker's draws where the defense asks nothing of the net."""
FRIENDLY: tuple[Loss, ...] = ("dlr", "margin", "ce")
"""Losses that the strongest false friend climbs, the first two of them on the bare net too."""


def is_adaptive(attack: str) -> bool:
    """Tell from an attack's name if it is adaptive."""
    return attack.startswith(AWARE)


def adaptive_attacks(
    battery: Sequence[Attack], defense_set: DefenseSet, threat: ThreatModel
) -> tuple[Attack, ...]:
    """Build the controls, and for each goal of a battery the adaptive attacks on every defense.

    Each takes as many steps of the same length as the battery's longest PGD. Through each defense:
    `aware` (Wu et al. 2021, alg. 6), `eot` over its random draws (Athalye et al. 2018), and
    `known`, to which the defender's first draw is leaked; and, at lengths of its own, the
    strongest, `adaptive`; see `strongest`. `pgd-hedged` takes a hedge step inside each attack step
    (B.11), `label-free` is algorithm 5. Transfer from the undefended net is what the battery itself
    does. An adaptive false friend goes to mistakes alone: to those of the bare
    net, and where the battery's false friends go further, to those of each defended net too.
    """
    still = AttackConfig(threat=threat, steps=0, start="none")
    attacks = [
        single(CLEAN, "adversarial", "ce", still),
        single(RANDOM_START, "adversarial", "ce", replace(still, start="uniform")),
    ]
    goals = dict.fromkeys(attack.goal for attack in battery)
    for goal in goals:
        if goal not in ("adversarial", "hypocritical"):
            continue
        plain, scope = _plain(battery, goal, threat), _scope(battery, goal)
        for name, defense in defense_set.defenses.items():
            draws = _draws(defense, defense_set)
            for knowledge, access in (
                ("aware", AdaptiveAccess(defense=defense)),
                ("eot", AdaptiveAccess(defense=defense, draws=draws)),
                ("known", AdaptiveAccess(defense=defense, leaked_draw=0)),
            ):
                stage = AttackStage(config=plain, loss="ce", access=access)
                named = f"{knowledge}-{name}"
                attacks.append(Attack(name=named, goal=goal, stages=(stage,), scope=scope))
            one = strongest(name, defense, goal, threat, draws=draws, effort=defense_set.effort)
            attacks.append(replace(one, scope=scope))
        inside = single("pgd-hedged", goal, "ce", replace(plain, search="pgd_hedged"))
        attacks.append(replace(inside, scope=scope))
        if goal == "adversarial":
            attacks.append(single("label-free", "label_free", "ce", plain))
    return tuple(attacks)


def strongest(
    name: str, defense: Defense, goal: Goal, threat: ThreatModel, *, draws: int, effort: Effort
) -> Attack:
    """The strongest adaptive attack on a defense: several Auto-PGDs, among whose points it chooses.

    An adversary climbs the targeted DLR and the margin through the cheaper defense, with losses
    and gradients averaged over random draws, and the targeted DLR on the bare net: the attack by
    which Croce et al. 2022 broke Hedge Defense, and the margin. A false friend has one class to aim
    at, and climbs the DLR, the margin and the cross-entropy through the cheaper one, and the first
    two on the bare net. Of each example the point is handed over that serves the goal behind most
    draws of the whole defense, on draws of the attacker's own.

    In a ball that leaves [0, 1], which Auto-PGD does not search, PGD takes as many steps.

    Args:
        name: of the defense in rows.
        goal: "adversarial" or "hypocritical".
        draws: random draws that each gradient is averaged over.
    """
    through: tuple[Loss, ...] = ("dlr", "margin") if goal == "adversarial" else FRIENDLY
    bare: tuple[Loss, ...] = ("dlr",) if goal == "adversarial" else FRIENDLY[:2]
    access = AdaptiveAccess(defense=defense, draws=draws, averaging="losses", cheaply=True)
    config = AttackConfig(
        threat=threat,
        search="apgd" if threat.clamp else "pgd",
        steps=effort.steps,
        protocol="best_loss",
    )

    def stage(loss: Loss, access: AdaptiveAccess | None) -> AttackStage:
        aimed = goal == "adversarial" and loss == "dlr" and threat.clamp
        own = replace(config, targets=effort.targets if aimed else 0)
        return AttackStage(config=own, loss=loss, access=access)

    return Attack(
        name=f"adaptive-{name}",
        goal=goal,
        stages=(*(stage(loss, access) for loss in through), *(stage(loss, None) for loss in bare)),
        choice=Choice(defense=defense, draws=effort.choices if defense.stochastic else 1),
    )


def _draws(defense: Defense, defense_set: DefenseSet) -> int:
    """Draws that an attacker averages over: one where all are alike."""
    if not defense.stochastic:
        return 1
    return defense_set.draws * (1 if defense.passes else MORE_DRAWS)


def _scope(battery: Sequence[Attack], goal: Goal) -> Scope:
    if goal == "adversarial":
        return "all"
    everywhere = any(attack.scope == "all" for attack in battery if attack.goal == goal)
    return "mistaken" if everywhere else "wrong"


def _plain(battery: Sequence[Attack], goal: Goal, threat: ThreatModel) -> AttackConfig:
    """The battery's longest PGD for a goal; that of Wu et al. 2021 where it has none."""
    theirs = [
        attack.config
        for attack in battery
        if attack.goal == goal
        and attack.config.search == "pgd"
        and attack.protocol == "last_iterate"
    ]
    own = AttackConfig(threat=threat, steps=20, step_size=threat.eps / 2)
    return max(theirs, key=lambda config: config.steps, default=own)
