"""Claims of Wu et al. 2021 on Hedge Defense, decided on the same images."""

from collections.abc import Collection, Iterable, Sequence

from fftune.evaluation.defended import CLEAN
from fftune.papers.artifacts import Direction
from fftune.papers.tables.attack_tables import COLUMNS, WORST
from fftune.papers.tables.paired_gains import ByImage, exceeds, gain

FOLLOWING = ("pgd-20", "cw", "autoattack")
STOPPING = ("deepfool", "fab-t", "square", "rays")
"""Attacks that stop at the boundary."""
SMALL_COST = 1.0
"""Points of natural accuracy that count as little."""
ROBUST = 0.1
"""Share of its clean accuracy that a robust net keeps under PGD."""


def claims(nets: Iterable[ByImage], columns: Collection[str]) -> tuple[Direction, ...]:
    """The claims of section 4.1 on nets that are robust: all but the naturally trained one.

    Args:
        columns: attacks of the table; claims on others are left out.
    """
    robust = [net for net in nets if is_robust(net)]
    stopping = [name for name in STOPPING if name in columns]
    return (
        *(_gains(robust, f"under {COLUMNS[one]}", [one]) for one in FOLLOWING if one in columns),
        _gains(robust, "under attacks that stop at the boundary", stopping),
        _gains(robust, "in the worst case", [WORST]),
        exceeds(
            "Hedge is better than random noise under AutoAttack",
            gain(robust, [("hedge", "autoattack")], [("random", "autoattack")]),
        ),
        exceeds(
            f"Hedge costs less than {SMALL_COST:g} point of natural accuracy",
            gain(robust, [("hedge", CLEAN)], [("none", CLEAN)]),
            -SMALL_COST,
        ),
    )


def is_robust(net: ByImage) -> bool:
    """Tell nets that withstand PGD on some images."""
    attack = "pgd-20" if ("none", "pgd-20") in net else "apgd-ce"
    kept, clean = net["none", attack].mean(), net["none", CLEAN].mean()
    return bool(kept > ROBUST * clean)


def _gains(nets: Sequence[ByImage], where: str, attacks: Sequence[str]) -> Direction:
    first = [("hedge", attack) for attack in attacks]
    second = [("none", attack) for attack in attacks]
    return exceeds(f"Hedge raises the accuracy of robust nets {where}", gain(nets, first, second))
