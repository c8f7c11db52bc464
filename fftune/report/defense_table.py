"""Text tables of defenses (Wu et al. 2021, table 1), with adaptive attacks beside them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fftune.comparison import Paired
from fftune.evaluation.adaptive import is_adaptive
from fftune.evaluation.defended import CLEAN
from fftune.outcomes import Outcomes
from fftune.report import defense_legend, resubmission_table
from fftune.report.defended_rows import (
    defense_frame,
    flip_counts,
    is_leaked,
    judged,
    judged_draws,
    tried_by_all,
)
from fftune.report.optimality import SearchKey, defended_shares, share_lines
from fftune.report.row_order import attacks_in, defenses_in
from fftune.report.terminal import Block, grid
from fftune.risk import Rate

if TYPE_CHECKING:
    import pandas as pd


def defense_details(
    outcomes: Outcomes, seconds: Mapping[SearchKey, float] | None = None
) -> list[Block]:
    """Accuracies and concealed mistakes under each defense, on every split.

    The battery, whose attacks know of no defense, is never shown without the adaptive attacks.

    Args:
        seconds: of each search, where they are known; see `EvalResult.seconds`.
    """
    frame = defense_frame(outcomes)
    lines: list[Block] = []
    for split, part in frame.groupby("split"):
        sure = _without_chance(part)
        lines += _head(str(split), part, sure)
        told = part[~part["defense"].isin(sure) | (part["defense_repeat"] == 0)]
        lines += _natural(told, judged_draws(part))
        goals = set(part["goal"])
        if "adversarial" in goals:
            lines += _adversaries(told)
        if "hypocritical" in goals:
            lines += _friends(told)
        lines += ["", *_resubmitted(part), ""]
        for defense, shares in defended_shares(part, seconds).items():
            lines += ["", f"behind {defense}, first draw:", *share_lines(shares)]
    return lines


def _without_chance(part: "pd.DataFrame") -> list[str]:
    """Defenses whose draws, of which there are several, never differ, as those of JPEG."""
    if judged_draws(part) < 2:
        return []
    key = ["defense", "attack", "goal", "target", "seed", "id"]
    under = part[part["defense"] != "none"]
    differ = (under.groupby(key)["pred_pert"].nunique() > 1).groupby("defense").any()
    return [str(defense) for defense in differ.index[~differ]]


def _head(split: str, part: "pd.DataFrame", sure: Sequence[str]) -> list[str]:
    """Say what the first tables show, and of which defenses one draw tells all."""
    head = f"{split}, under defenses: n = {part['id'].nunique():,}"
    alike = f"  behind {' and '.join(sure)} all draws gave the same answers: one is shown"
    if {"none", *sure} >= set(part["defense"]):
        return [f"{head}; accuracy in %", alike]
    return [
        f"{head}, {judged_draws(part)} draws of each; mean accuracy in % (its variance over draws)",
        "  attacks were crafted once, only the defense was drawn again: its noise alone varies",
        "  differences are of the first draw",
        *([alike] if sure else []),
    ]


def _natural(part: "pd.DataFrame", repeats: int) -> list[Block]:
    """Format clean accuracy, and the control: right under each of as many draws as attacks."""
    clean = part[part["attack"] == CLEAN]
    if not len(clean):
        return ["  natural accuracy is missing, and with it whose mistakes are whose", ""]
    control = int(clean["defense_repeat"].max()) + 1
    rows = [["", "natural", f"right in {control} draws of {control}"]]
    note = ["  the second column is noise alone, which is no adversary"]
    if control == 1:
        rows, note = [["", "natural"]], []
    for defense in defenses_in(part):
        one = clean[clean["defense"] == defense]
        first = one[one["defense_repeat"] < repeats]
        always = one.groupby("id")["right"].all()
        rows.append([defense, _mean(first), f"{100 * always.mean():.2f}"][: len(rows[0])])
    return [grid(rows), *note, "", *_gains("natural", clean), ""]


def _adversaries(part: "pd.DataFrame") -> list[Block]:
    adv = part[part["goal"].isin(["adversarial", "label_free"])]
    battery = adv[~adv["attack"].map(is_adaptive)]
    aware = adv[adv["attack"].map(is_adaptive)]
    unknown = adv[~adv["attack"].map(is_leaked)]
    attacks, defenses = attacks_in(battery), defenses_in(part)
    rows = [["crafted on the bare net", *attacks, "worst case"]]
    for defense in defenses:
        one = battery[battery["defense"] == defense]
        rows.append(
            [defense, *(_mean(one[one["attack"] == a]) for a in attacks), _mean(_worst(one))]
        )
    name = f"worst case of {battery['attack'].nunique()} attacks"
    lines: list[Block] = [grid(rows), "", *_gains(name, _worst(battery)), ""]
    rows = [["adaptive attackers", *defenses]]
    for attack in attacks_in(aware):
        one = aware[aware["attack"] == attack]
        rows.append([attack, *(_cell(one, attack, defense) for defense in defenses)])
    # An attacker to whom the first draw is leaked is only measured on that.
    everyone = adv[adv["defense_repeat"] == 0]
    for name, chosen in (("best of all", unknown), ("best, noise known*", everyone)):
        rows.append([name, *(_mean(_worst(chosen[chosen["defense"] == d])) for d in defenses)])
    lines += [grid(rows), "  * the defender's first draw alone, which `known-...` has"]
    lines += [*defense_legend.attackers(attacks_in(aware)), defense_legend.BEST, ""]
    lines += _gains("best of all", _worst(unknown))
    return [*lines, "", *_flips(battery, attacks, defenses)]


def _friends(part: "pd.DataFrame") -> list[Block]:
    """Format the mistakes of the bare net that false friends conceal."""
    hyp = part[(part["goal"] == "hypocritical") & (part["defense_repeat"] == 0)]
    return ["", *_unmasked(hyp)]


def _unmasked(hyp: "pd.DataFrame") -> list[Block]:
    """Count the bare net's mistakes that a friend conceals, and that a defense shows again."""
    hyp = hyp[hyp["pred_clean"] != hyp["y"]]
    if not len(hyp):
        return ["the bare net has no mistakes to conceal (n = 0)"]
    defenses = defenses_in(hyp)
    head = [f"concealed of {hyp['id'].nunique()}", "none"]
    rows = [head + [f"{d} {of}" for d in defenses[1:] for of in ("leaves", "unmasks", "as itself")]]
    lines: list[str] = []
    for attack in attacks_in(hyp):
        one = hyp[hyp["attack"] == attack].set_index("defense")
        cells = [attack, f"{one.loc[['none'], 'right'].sum()}"]
        for defense in defenses[1:]:
            under = one.loc[[defense]]
            was = under[under["before"] == under["y"]]
            unmasked = int((~was["right"]).sum())
            itself = int((was["pred_pert"] == was["pred_clean"]).sum())
            cells += [f"{under['right'].sum()}", f"{unmasked} of {len(was)}", f"{itself}"]
            if not is_adaptive(attack):
                lines.append(f"  {defense} unmasks {attack}: {Rate(unmasked, len(was))}")
        rows.append(cells)
    title = "mistakes of the bare net that false friends conceal, under the first draw"
    return [grid(rows, title), defense_legend.MISTAKES, "", *lines]


def _resubmitted(part: "pd.DataFrame") -> list[Block]:
    """Format what comes of several submissions, behind one defense after the other."""
    if part.loc[part["defense"] != "none", "doubt"].isna().all():
        few = "rows have too few draws of clean images to tell D+ and D- apart: evaluate again"
        return [few]
    part = judged(part)
    lines: list[Block] = [*resubmission_table.explained(part[part["defense"] != "none"])]
    bare = part[part["defense"] == "none"]
    for defense in defenses_in(part):
        if defense != "none":
            under = part[part["defense"] == defense]
            lines += _behind(defense, under, bare)
    return lines


def _behind(defense: str, under: "pd.DataFrame", bare: "pd.DataFrame") -> list[Block]:
    goals = set(under["goal"])
    lines: list[Block] = ["", f"behind {defense}", ""]
    if "adversarial" in goals:
        lines += [*resubmission_table.adversaries(under, bare), ""]
    if "hypocritical" in goals:
        lines += _risk_of_friends(under, bare)
    return lines


def _risk_of_friends(under: "pd.DataFrame", bare: "pd.DataFrame") -> list[Block]:
    """Format hypocritical risks; unknown where friends went to the bare net's mistakes alone."""
    right = bare["pred_clean"] == bare["y"]
    own = right & (bare["goal"] == "hypocritical") & ~bare["attack"].map(is_adaptive)
    if own.any() or not right.any():
        return resubmission_table.friends(under, bare)
    return ["hypocritical risk: unknown, as friends went to the bare net's mistakes alone"]


def _gains(name: str, rows: "pd.DataFrame") -> list[str]:
    """Format paired differences: each defense against none, and against random noise."""
    first = rows[rows["defense_repeat"] == 0].set_index(["defense", "id"])["right"]
    defenses = defenses_in(rows)
    pairs = [(defense, "none") for defense in defenses[1:]]
    if "random" in defenses:
        pairs += [(one, "random") for one in defenses[1:] if one != "random"]
    return [f"  {one} - {two}, {name}: {_paired(first[one], first[two])}" for one, two in pairs]


def _flips(battery: "pd.DataFrame", attacks: Sequence[str], defenses: Sequence[str]) -> list[Block]:
    """Format flips of predictions by a defense (Wu et al. 2021, fig. 2a), means over draws."""
    rows = [["images", *(f"{d} {c}" for d in defenses[1:] for c in ("FtoT", "TtoF", "FtoF"))]]
    for attack in attacks:
        cells = [attack]
        for defense in defenses[1:]:
            one = battery[(battery["attack"] == attack) & (battery["defense"] == defense)]
            counts = flip_counts(one)
            cells += [f"{counts[name]:.1f}" for name in ("FtoT", "TtoF", "FtoF")]
        rows.append(cells)
    return [grid(rows), defense_legend.FLIPS]


def _worst(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Tell for each example and draw if it is right under every attack."""
    key = ["defense", "defense_repeat", "id"]
    return tried_by_all(rows).groupby(key)["right"].all().reset_index()


def _mean(rows: "pd.DataFrame") -> str:
    """Format accuracy in percent, and its variance over draws where there are several."""
    each = 100 * rows.groupby("defense_repeat")["right"].mean()
    spread = f" ({each.var():.2f})" if len(each) > 1 else ""
    return f"{each.mean():.2f}{spread}" if len(each) else "-"


def _cell(rows: "pd.DataFrame", attack: str, defense: str) -> str:
    one = rows[rows["defense"] == defense]
    if attack == f"known-{defense}":
        return _mean(one[one["defense_repeat"] == 0]) + "*"
    return _mean(one)


def _paired(first: "pd.Series[bool]", second: "pd.Series[bool]") -> Paired:
    second = second[first.index]
    return Paired(
        n=len(first),
        both=int((first & second).sum()),
        gained=int((first & ~second).sum()),
        lost=int((~first & second).sum()),
    )
