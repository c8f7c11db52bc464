"""Attackers who know that a defence will be applied."""

from collections.abc import Sequence
from dataclasses import replace

from fftune.config import AttackConfig, Goal, ThreatModel
from fftune.defenses import Through
from fftune.evaluation.batteries import Probe, Scope
from fftune.evaluation.defended import CLEAN, Guard
from fftune.evaluation.tiers import Part

AWARE = ("aware", "eot", "known", "pgd-hedged", "label-free")
"""How their names begin."""
MORE_DRAWS = 5
"""Times as many draws where the defence takes no steps."""


def is_aware(attack: str) -> bool:
    """Whether an attack's name is one of theirs."""
    return attack.startswith(AWARE)


def aware_probes(battery: Sequence[Probe], guard: Guard, threat: ThreatModel) -> tuple[Probe, ...]:
    """The control, and for each goal of a battery all that its attackers could do better.

    Each goes as many steps of the same length as the battery's longest PGD. Behind each defence:
    `aware` (Wu et al. 2021, alg. 6), `eot` over its random start (Athalye et al. 2018), and
    `known`, by one who has got hold of the defender's first draw. `pgd-hedged` takes a hedge step
    inside each attack step (B.11), `label-free` is algorithm 5. Transfer from the undefended net
    is what the battery itself does. A friend who knows goes to mistakes alone: to those of the
    bare net, and where the battery's own friends go further, to those of each defended net too.
    """
    still = AttackConfig(threat=threat, steps=0, start="none")
    probes = [_probe(CLEAN, "adversarial", still)]
    goals = dict.fromkeys(probe.goal for probe in battery)
    for goal in goals:
        if goal not in ("adversarial", "hypocritical"):
            continue
        plain, scope = _plain(battery, goal, threat), _scope(battery, goal)
        for name, defense in guard.hedges.items():
            draws = guard.draws * (1 if defense.steps else MORE_DRAWS)
            for attack, through in (
                ("aware", Through(defense=defense)),
                ("eot", Through(defense=defense, draws=draws)),
                ("known", Through(defense=defense, known=0)),
            ):
                probe = _probe(f"{attack}-{name}", goal, plain)
                probes.append(replace(probe, through=through, scope=scope))
        inside = _probe("pgd-hedged", goal, replace(plain, search="pgd_hedged"))
        probes.append(replace(inside, scope=scope))
        if goal == "adversarial":
            probes.append(_probe("label-free", "label_free", plain))
    return tuple(probes)


def _scope(battery: Sequence[Probe], goal: Goal) -> Scope:
    if goal == "adversarial":
        return "all"
    everywhere = any(probe.scope == "all" for probe in battery if probe.goal == goal)
    return "mistaken" if everywhere else "wrong"


def _plain(battery: Sequence[Probe], goal: Goal, threat: ThreatModel) -> AttackConfig:
    """The battery's longest PGD for a goal; P2's where it has none."""
    theirs = [
        probe.config
        for probe in battery
        if probe.goal == goal and probe.config.search == "pgd" and probe.protocol == "fixed"
    ]
    own = AttackConfig(threat=threat, steps=20, step_size=threat.eps / 2)
    return max(theirs, key=lambda config: config.steps, default=own)


def _probe(attack: str, goal: Goal, config: AttackConfig) -> Probe:
    return Probe(attack=attack, goal=goal, parts=(Part(config=config, loss="ce"),))
