"""Five behaviours of obfuscated gradients (Athalye et al. 2018, 3.1; Wu et al. 2021, E.1).

A net that shows one of them is not robust but hard to follow for gradients. Passing proves
nothing: attacks that fail prove nothing.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from math import prod, sqrt

from torch import nn

from fftune.comparison import Paired
from fftune.config import (
    AttackConfig,
    BatteryConfig,
    DefenseConfig,
    Protocol,
    ThreatModel,
)
from fftune.data import Dataset
from fftune.doctor.check import MARGIN, Check, OnCheck, beats, ignored, is_full
from fftune.evaluation.batteries import Attack, single
from fftune.evaluation.defended import DefenseSet
from fftune.evaluation.direct import attack_model
from fftune.outcomes import Outcomes
from fftune.registry import label
from fftune.risk import Rate

STEPS = 20
UNBOUNDED_STEPS = 50
QUERIES = 1000
SAMPLES = 100
GROWTH = (0.5, 1.0, 2.0, 4.0)
"""Increasing radii, in multiples of eps, with which success must not shrink."""


def behaviours(
    net: nn.Module,
    dataset: Dataset,
    battery: BatteryConfig,
    *,
    threat: ThreatModel,
    defense: str = "none",
    settings: DefenseConfig | None = None,
    on_check: OnCheck = ignored,
) -> list[Check]:
    """Run the five checks, on the bare net or under the first draw of a defense.

    Attacks are crafted on the bare net, as in Wu et al. 2021. There each keeps its first success,
    x itself included; under a defense it takes all its steps, for the first success is the
    nearest to the boundary and the easiest to undo.

    Args:
        defense: name of the defense, or "none".
        settings: settings of the defense; its names and repeats are not used.
        on_check: called with each check as it ends.
    """
    protocol: Protocol | None = "first_success" if defense == "none" else None
    names = () if defense == "none" else (defense,)
    asked = replace(settings or DefenseConfig(), names=names, repeats=1)
    defense_set = DefenseSet.of(
        asked, threat, source=dataset.source.name, split=dataset.split, attacks=1
    )
    rows: dict[str, Outcomes] = {}
    left, found = _checks(), []
    for attack in attacks_of(dataset, threat, protocol):
        outcomes = attack_model(net, dataset, battery, [attack], defense_set=defense_set)
        rows[attack.name] = outcomes.where(attack=attack.name, defense=label(defense))
        for needs in [needs for needs in left if rows.keys() >= set(needs)]:
            found.append(left.pop(needs)(*(rows[name] for name in needs)))
            on_check(found[-1])
    return found


def attacks_of(
    dataset: Dataset, threat: ThreatModel, protocol: Protocol | None
) -> tuple[Attack, ...]:
    """Build every attack that the five checks compare."""
    diameter = 1 if threat.norm == "linf" else sqrt(prod(dataset.shape))
    cube = ThreatModel(norm=threat.norm, eps=diameter)
    pgd = AttackConfig(threat=threat, steps=STEPS, protocol=protocol)
    square = replace(pgd, search="square", steps=QUERIES, start="none")
    return (
        single("pgd x1", "adversarial", "ce", pgd),
        single("fgsm", "adversarial", "ce", replace(pgd, search="fgsm", steps=1, start="none")),
        single("square", "adversarial", "margin", square),
        single("unbounded", "adversarial", "ce", replace(pgd, threat=cube, steps=UNBOUNDED_STEPS)),
        single("random", "adversarial", "ce", replace(pgd, steps=0, restarts=SAMPLES)),
        *(
            single(
                f"pgd x{times:g}", "adversarial", "ce", replace(pgd, threat=_larger(threat, times))
            )
            for times in GROWTH
            if times != 1
        ),
    )


def _checks() -> dict[tuple[str, ...], Callable[..., Check]]:
    """The five checks by the attacks whose rows they compare."""
    points = f"best of {SAMPLES} random points - PGD-{STEPS}"
    weak = {
        "fgsm": ("one step is no better than many", f"FGSM - PGD-{STEPS}"),
        "square": (
            "black-box attacks are no better than gradients",
            f"Square-{QUERIES} - PGD-{STEPS}",
        ),
        "random": ("random points are no better than gradients", points),
    }
    checks: dict[tuple[str, ...], Callable[..., Check]] = {
        (attack, "pgd x1"): partial(_no_better, *words) for attack, words in weak.items()
    }
    checks["unbounded",] = _unbounded
    checks[tuple(f"pgd x{times:g}" for times in GROWTH)] = _growth
    return checks


def _no_better(name: str, what: str, weak: Outcomes, strong: Outcomes) -> Check:
    paired = Paired.of(weak, strong)
    return Check(name=name, passed=not beats(paired), evidence=f"{what}: {paired}")


def _unbounded(anywhere: Outcomes) -> Check:
    rate = _rate(anywhere)
    evidence = f"success {rate} of PGD-{UNBOUNDED_STEPS} anywhere in [0, 1]"
    name = "without a bound every example falls"
    return Check(name=name, passed=is_full(rate), evidence=evidence)


def _growth(*steps: Outcomes) -> Check:
    """Check that success never shrinks with the radius, and grows from eps on, or is full."""
    rates = [_rate(step) for step in steps]
    shrinks = any(beats(Paired.of(small, large)) for small, large in pairwise(steps))
    grown = Paired.of(steps[-1], steps[GROWTH.index(1.0)])
    passed = not shrinks and (beats(grown) or rates[-1].value >= 1 - MARGIN)
    sizes = ", ".join(f"{t:g} eps {r.value:.1%}" for t, r in zip(GROWTH, rates, strict=True))
    evidence = f"success at {sizes}; {GROWTH[-1]:g} eps - eps: {grown}"
    return Check(name="a larger bound helps the attacker", passed=passed, evidence=evidence)


def _rate(outcomes: Outcomes) -> Rate:
    return Rate(outcomes.table["success"].to_pylist().count(True), len(outcomes))


def _larger(threat: ThreatModel, times: float) -> ThreatModel:
    eps = times * threat.eps
    return replace(threat, eps=min(1.0, eps) if threat.norm == "linf" else eps)
