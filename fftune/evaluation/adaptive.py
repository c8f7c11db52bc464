"""Attackers who know that a defence will be applied."""

from collections.abc import Sequence
from dataclasses import replace

from fftune.config import AttackConfig, Goal, ThreatModel
from fftune.defenses import AdaptiveAccess
from fftune.evaluation.batteries import Attack, Scope
from fftune.evaluation.defended import CLEAN, DefenseSet
from fftune.evaluation.tiers import AttackStage

AWARE = ("aware", "eot", "known", "pgd-hedged", "label-free")
"""How their names begin."""
MORE_DRAWS = 5
"""Times as many draws where the defence takes no steps."""


def is_adaptive(attack: str) -> bool:
    """Whether an attack's name is one of theirs."""
    return attack.startswith(AWARE)


def adaptive_attacks(
    battery: Sequence[Attack], defense_set: DefenseSet, threat: ThreatModel
) -> tuple[Attack, ...]:
    """The control, and for each goal of a battery all that its attackers could do better.

    Each goes as many steps of the same length as the battery's longest PGD. Behind each defence:
    `aware` (Wu et al. 2021, alg. 6), `eot` over its random start (Athalye et al. 2018), and
    `known`, by one who has got hold of the defender's first draw. `pgd-hedged` takes a hedge step
    inside each attack step (B.11), `label-free` is algorithm 5. Transfer from the undefended net
    is what the battery itself does. A friend who knows goes to mistakes alone: to those of the
    bare net, and where the battery's own friends go further, to those of each defended net too.
    """
    still = AttackConfig(threat=threat, steps=0, start="none")
    attacks = [_attack(CLEAN, "adversarial", still)]
    goals = dict.fromkeys(attack.goal for attack in battery)
    for goal in goals:
        if goal not in ("adversarial", "hypocritical"):
            continue
        plain, scope = _plain(battery, goal, threat), _scope(battery, goal)
        for name, defense in defense_set.hedges.items():
            draws = defense_set.draws * (1 if defense.steps else MORE_DRAWS)
            for knowledge, access in (
                ("aware", AdaptiveAccess(defense=defense)),
                ("eot", AdaptiveAccess(defense=defense, draws=draws)),
                ("known", AdaptiveAccess(defense=defense, known=0)),
            ):
                attack = _attack(f"{knowledge}-{name}", goal, plain)
                attacks.append(replace(attack, through=access, scope=scope))
        inside = _attack("pgd-hedged", goal, replace(plain, search="pgd_hedged"))
        attacks.append(replace(inside, scope=scope))
        if goal == "adversarial":
            attacks.append(_attack("label-free", "label_free", plain))
    return tuple(attacks)


def _scope(battery: Sequence[Attack], goal: Goal) -> Scope:
    if goal == "adversarial":
        return "all"
    everywhere = any(attack.scope == "all" for attack in battery if attack.goal == goal)
    return "mistaken" if everywhere else "wrong"


def _plain(battery: Sequence[Attack], goal: Goal, threat: ThreatModel) -> AttackConfig:
    """The battery's longest PGD for a goal; P2's where it has none."""
    theirs = [
        attack.config
        for attack in battery
        if attack.goal == goal and attack.config.search == "pgd" and attack.protocol == "fixed"
    ]
    own = AttackConfig(threat=threat, steps=20, step_size=threat.eps / 2)
    return max(theirs, key=lambda config: config.steps, default=own)


def _attack(name: str, goal: Goal, config: AttackConfig) -> Attack:
    return Attack(name=name, goal=goal, stages=(AttackStage(config=config, loss="ce"),))
