"""Sanity checks beside the attacks (Carlini et al. 2019, sec. 3): does PGD find what it must?

Without bounds it must fool everything; within them, about what a stronger ensemble does. After
catastrophic overfitting (Wong et al. 2020) it does not: the gradient near an image misleads.
"""

from collections.abc import Sequence
from dataclasses import replace

from fftune.comparison import Paired
from fftune.config import AttackConfig, ThreatModel
from fftune.evaluation.batteries import CANARY_NAME, Attack, single
from fftune.lint.finding import Remark
from fftune.outcomes import CERTIFIED, Outcomes

BEYOND = 0.1
"""Difference of accuracies from which, with 95 % confidence, PGD says little of a net. Nets of
adversarial training lose some 3 to 6 points from PGD-20 to AutoAttack."""
STEPS = 10
"""Steps from which a PGD of a battery is compared."""
UNBOUNDED_STEPS, STEPS_ACROSS = 50, 20
"""Steps of the unbounded PGD, and how many of them lead from black to white."""
COMPARED = 64
"""Images on which `pgd_50` is run."""


def unbounded(attack: Attack, values: int) -> Attack:
    """PGD on the margin in the whole box of images: where gradients lead anywhere, none withstands.

    Args:
        values: number of values in an image, C x H x W.
    """
    norm = attack.config.threat.norm
    whole = ThreatModel(norm=norm, eps=1 if norm == "linf" else values**0.5)
    config = AttackConfig(
        threat=whole,
        steps=UNBOUNDED_STEPS,
        step_size=whole.eps / STEPS_ACROSS,
        start="none",
        protocol="first_success",
    )
    return replace(single("unbounded", attack.goal, "margin", config), tier=attack.tier)


def is_pgd(attack: Attack) -> bool:
    """Is it PGD on the cross-entropy and the bare net, long enough to be believed?"""
    stage, config = attack.stages[0], attack.config
    plain = attack.is_plain and attack.goal == "adversarial" and attack.scope == "all"
    return plain and config.search == "pgd" and stage.loss == "ce" and config.steps >= STEPS


def pgd_50(attack: Attack) -> Attack:
    """PGD-50 in the ball of an ensemble, ended by its first success."""
    config = AttackConfig(threat=attack.config.threat, steps=50, protocol="first_success")
    return replace(single("pgd-50", "adversarial", "ce", config), tier=attack.tier)


def overfitted(outcomes: Outcomes, attacks: Sequence[Attack]) -> tuple[str, ...]:
    """Remark on a net that withstands PGD alone, by the undefended rows of a battery.

    The PGD that finds most is compared with the attack that does, on the same images. A certified
    bound is no attack: what it cannot rule out, nobody has found.
    """
    found = outcomes.where(defense="none", goal="adversarial")
    wins = found.to_pandas().groupby("attack", observed=True)["success"].sum()
    ours = [one.name for one in attacks if is_pgd(one) and one.name in wins.index]
    others = wins[~wins.index.isin((CANARY_NAME, CERTIFIED))]
    if not ours or not len(others):
        return ()
    pgd, strong = max(ours, key=lambda name: int(wins[name])), str(others.idxmax())
    ids = [set(found.where(attack=name).values("id")) for name in (pgd, strong)]
    shared = [found.where(attack=name).among(ids[0] & ids[1]) for name in (strong, pgd)]
    return named(Paired.of(*shared), pgd=pgd, strong=strong)


def named(paired: Paired, *, pgd: str, strong: str) -> tuple[str, ...]:
    """Remark on successes of a strong attack, paired with those of PGD; none where they agree."""
    low, high = paired.interval
    if not paired.n or low <= BEYOND:
        return ()
    left = [1 - (paired.both + more) / paired.n for more in (paired.lost, paired.gained)]
    text = (
        f"of {paired.n:,} images {left[0]:.1%} withstand {pgd} and {left[1]:.1%} {strong}: "
        f"{paired.gain:.1%} fewer (95 % CI {low:.1%} to {high:.1%}), where sound nets differ by "
        f"some 5 points: gradients mislead PGD, so that its figures say nothing of this net"
    )
    return (str(Remark("catastrophic-overfitting", text)),)
