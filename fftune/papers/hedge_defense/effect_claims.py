"""Claims of Wu et al. 2021 on how a hedge acts, each with what is seen of it here."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fftune.hedge_study.showcase_schema import Flips
from fftune.papers.artifacts import Direction
from fftune.papers.hedge_defense.analyses import ALIKE, MAP_D, RADII_A, STEPS, USUAL
from fftune.papers.hedge_defense.flip_counts import gains
from fftune.papers.hedge_defense.plots import flips_at
from fftune.papers.tables.attack_tables import COLUMNS
from fftune.papers.tables.directions import Larger, constant, direction, together
from fftune.papers.tables.measures import measure_of
from fftune.risk import Rate

NEAR = ("fab-t", "square", "rays")
"""Attacks that stop close to the decision boundary."""
FEW, MOST = 5, 0.8
"""A few steps of the hedge, and the share of its whole gain that they should have."""


def more_corrected(
    counts: Mapping[tuple[str, str], Sequence[Flips]], attacks: Sequence[str]
) -> Iterator[Direction]:
    """Hedge corrects more predictions than it breaks (4.2.1): by its first draw, of each attack."""
    hedged = {name: counts[name, "hedge"][0] for name in attacks if (name, "hedge") in counts}
    near = {attack: one for attack, one in hedged.items() if attack in NEAR}
    for who, among in (("attacks that stop near the boundary", near), ("every attack", hedged)):
        claim = f"Hedge corrects more predictions than it breaks (FtoT > TtoF) after {who}"
        yield Direction(
            claim=claim,
            found=together([gains(one) for one in among.values()]),
            seen=_seen(among),
        )


def steeper_false_class(gaps: Iterable[Mapping[str, Any]]) -> Iterator[Direction]:
    """The false class has the larger slope where Hedge corrects, the smaller where it breaks."""
    gaps = list(gaps)
    for kind, values, claim, sign in (
        ("FtoT", "false_to_true", "steeper than the truth where Hedge corrects (FtoT)", 1),
        ("TtoF", "true_to_false", "flatter than the truth where Hedge breaks (TtoF)", -1),
    ):
        shares = {
            one["estimator"]: Rate(sum(sign * v > 0 for v in one[values]), len(one[values]))
            for one in gaps
        }
        verdicts = [_above(share, 0.5) for share in shares.values()]
        agree = len(set(verdicts)) == 1
        yield Direction(
            claim=f"The false class is mostly {claim}",
            found=verdicts[0] if agree else None,
            seen="; ".join(f"by {name} on {share}" for name, share in shares.items())
            or f"no {kind} example",
        )


def alike(similarities: Iterable[Mapping[str, Any]]) -> Direction:
    """Attacked and hedged images resemble the natural ones (4.2.3)."""
    pairs = ("adversarial - natural", "hedged adversarial - natural")
    found = [one for one in similarities if one["pair"] in pairs]
    return Direction(
        claim=f"Adversarial and hedged images mostly have an SSIM above {ALIKE:.2f}",
        found=together([_above(Rate(one["above"], one["n"]), 0.5) for one in found]),
        seen="; ".join(
            f"{one['pair']}: mean {one['mean']:.3f}, above on {Rate(one['above'], one['n'])}"
            for one in found
        ),
    )


def steeper_here(surface: Mapping[str, Any]) -> Direction:
    """The false class's loss varies more around the one attacked image that is shown (fig. 1)."""
    at = [abs(value) <= 1 + 1e-6 for value in surface["at"]]
    false, true = (_range(surface[name], at) for name in ("false_loss", "true_loss"))
    return Direction(
        claim="Around the attacked image the loss of the false class is the steeper one",
        found=false > true,
        seen=f"within eps_d losses vary by {false:.2f} and {true:.2f}, on one image",
    )


def of_ablation(points: Sequence[Mapping[str, Any]]) -> Iterator[Direction]:
    """Few steps suffice, the radius matters little, and strong attacks lose most (4.3)."""
    by = {(p["eps_a"], p["eps_d"], p["steps"]): flips_at(p) for p in points}
    yield _few_steps(by)
    wide = {d: by[USUAL, d, STEPS[-1]] for d in MAP_D}
    yield Direction(
        claim="Hedges of every radius from 4/255 to 32/255 correct more than they break",
        found=together([gains(one) for one in wide.values()]),
        seen=_seen({f"eps_d {d}/255": one for d, one in wide.items()}),
    )
    weak, strong = (by[a, USUAL, STEPS[-1]] for a in (RADII_A[0], USUAL))
    yield direction(
        "The larger eps_a, the more predictions are corrected",
        [
            Larger(
                what=f"FtoT at eps_a {USUAL}/255 and {RADII_A[0]}/255",
                first=measure_of([Rate(strong.false_to_true, strong.n)]),
                second=measure_of([Rate(weak.false_to_true, weak.n)]),
            )
        ],
    )


def of_second_attack(counts: Sequence[Mapping[str, int]]) -> Iterator[Direction]:
    """False predictions are the easier ones to attack (B.10), at full length and by one step.

    Args:
        counts: of attacks of 0, 1, 2, ... steps.
    """
    last, claim = counts[-1], "Predictions that an attack has flipped are flipped more often than"
    yield direction(f"{claim} those that survived", [_flipped_more(last)])
    yield direction(f"{claim} the others by a single step, too", [_flipped_more(counts[1])])
    yield direction(
        "Most of the flipped ones return to the truth",
        [
            Larger(
                what="share that returns, and a half:",
                first=measure_of([Rate(last["returned"], last["flipped"])]),
                second=constant(50),
            )
        ],
    )


def _flipped_more(counts: Mapping[str, int]) -> Larger:
    return Larger(
        what="flipped by a second attack",
        first=measure_of([Rate(counts["flipped_again"], counts["flipped"])]),
        second=measure_of([Rate(counts["survivors_flipped"], counts["survived"])]),
    )


def _few_steps(by: Mapping[tuple[int, int, int], Flips]) -> Direction:
    few, whole = by[USUAL, USUAL, FEW], by[USUAL, USUAL, STEPS[-1]]
    gained = [one.right_after - one.right_before for one in (few, whole)]
    found = gained[0] >= MOST * gained[1] if gains(whole) else None
    return Direction(
        claim=f"{FEW} steps have most ({MOST:.0%}) of what {STEPS[-1]} gain",
        found=found,
        seen=f"{gained[0]:+,} and {gained[1]:+,} images of {whole.n:,}",
    )


def _seen(among: Mapping[str, Flips]) -> str:
    if not among:
        return "no numbers"
    told = (
        f"{COLUMNS.get(what, what)} {one.false_to_true:,} and {one.true_to_false:,}"
        for what, one in among.items()
    )
    return f"of {next(iter(among.values())).n:,} images: {'; '.join(told)}"


def _above(share: Rate, bound: float) -> bool | None:
    """Tell if a share is above or below a bound by its 95 % interval."""
    low, high = share.interval
    return True if low > bound else False if high < bound else None


def _range(grid: Sequence[Sequence[float]], inside: Sequence[bool]) -> float:
    values = [
        value
        for row, a in zip(grid, inside, strict=True)
        for value, b in zip(row, inside, strict=True)
        if a and b
    ]
    return max(values) - min(values)
