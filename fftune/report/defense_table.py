"""Text tables of defences (Wu et al. 2021, table 1), with adaptive attacks beside them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from fftune.comparison import Paired
from fftune.config import ThreatModel
from fftune.evaluation.adaptive import is_adaptive
from fftune.evaluation.batteries import nine
from fftune.evaluation.defended import CLEAN
from fftune.outcomes import Outcomes
from fftune.registry import DEFENSES
from fftune.report.optimality import SearchKey, defended_shares, share_lines
from fftune.risk import Rate, clean_prediction

if TYPE_CHECKING:
    import pandas as pd


def undefended(outcomes: Outcomes) -> Outcomes:
    """Select the rows of a battery alone: no defence, no adaptive attack."""
    plain = outcomes.where(defense="none")
    chosen = (a for a in plain.values("attack") if a != CLEAN and not is_adaptive(a))
    return Outcomes.of(plain.where(attack=a).table for a in chosen)


def defense_table(outcomes: Outcomes, seconds: Mapping[SearchKey, float] | None = None) -> str:
    """Format accuracies and concealed mistakes under each defence, on every split.

    The battery, whose attacks know of no defence, is never shown without the adaptive attacks.

    Args:
        seconds: of each search, where they are known; see `EvalResult.seconds`.
    """
    frame = defense_frame(outcomes)
    lines: list[str] = []
    for split, part in frame.groupby("split"):
        repeats = int(part.loc[part["attack"] != CLEAN, "defense_repeat"].max()) + 1
        lines.append(
            f"{split}, under defences: n = {part['id'].nunique():,}, {repeats} draws of each; "
            "mean accuracy in % (its variance over draws)"
        )
        lines.append(
            "  attacks were crafted once, only the defence was drawn again: its noise alone varies"
        )
        lines.append("  intervals and differences are of the first draw")
        lines += _natural(part, repeats)
        goals = set(part["goal"])
        if "adversarial" in goals:
            lines += _adversaries(part)
        if "hypocritical" in goals:
            lines += _friends(part)
        for defense, shares in defended_shares(part, seconds).items():
            lines += ["", f"  {defense}, first draw:", *share_lines(shares)]
    return "\n".join(lines)


def defense_frame(outcomes: Outcomes) -> "pd.DataFrame":
    """Return the rows with three more columns: `right`, `before` and `mistaken`.

    `before` is the bare net's prediction of the same input; `mistaken` tells if the net, its
    defence included, misclassifies the clean image behind the same draw.
    """
    names = ["split", "attack", "goal", "defense"]
    frame = outcomes.to_pandas().astype(dict.fromkeys(names, str))
    frame = frame[frame["attack"] != "canary"]
    frame.loc[frame["attack"] == CLEAN, "goal"] = CLEAN
    frame["right"] = frame["pred_pert"] == frame["y"]
    key = ["split", "goal", "attack", "target", "seed", "id"]
    bare = frame[frame["defense"] == "none"].set_index(key)["pred_pert"].rename("before")
    frame = frame.join(bare, on=key)
    frame["mistaken"] = clean_prediction(frame) != frame["y"]
    return frame


def defense_rates(outcomes: Outcomes) -> dict[str, Rate]:
    """Rates under each defence's first draw, as in `defense/hedge/accuracy/pgd-20 adversarial`.

    The worst case is over all attacks but those to which the draw is leaked, for adversaries and
    for false friends; risks are on the defended net's own right and wrong answers.
    """
    frame = defense_frame(outcomes)
    frame = frame[(frame["defense_repeat"] == 0) & (frame["defense"] != "none")]
    found: dict[str, Rate] = {}
    for defense, under in frame.groupby("defense"):
        at = f"defense/{defense}"
        clean = under[under["attack"] == CLEAN]["right"]
        found[f"{at}/clean_accuracy"] = Rate(int(clean.sum()), len(clean))
        under = under[under["attack"] != CLEAN]
        for (attack, goal), rows in under.groupby(["attack", "goal"]):
            found[f"{at}/accuracy/{attack} {goal}"] = Rate(int(rows["right"].sum()), len(rows))
            found[f"{at}/risk/{attack} {goal}"] = _risk(rows, str(goal))
        unknown = under[~under["attack"].str.startswith("known")]
        worst = _worst_rates(unknown)
        concealed = worst.get("hypocritical_risk")
        if concealed is not None and concealed.n == len(clean) - int(clean.sum()):
            worst["inflation"] = Rate(concealed.count, len(clean))
        found |= {f"{at}/worst_case/{name}": rate for name, rate in worst.items()}
    return found


def _risk(rows: "pd.DataFrame", goal: str) -> Rate:
    """Success rate of an attack: of right answers for an adversary, of wrong ones for a friend."""
    if goal == "adversarial":
        rows = rows[~rows["mistaken"]]
    elif goal in ("hypocritical", "targeted"):
        rows = rows[rows["mistaken"]]
    return Rate(int(rows["success"].sum()), len(rows))


def _worst_rates(rows: "pd.DataFrame") -> dict[str, Rate]:
    """Accuracy and both risks over all attacks of a goal, on one draw of one defence."""
    found: dict[str, Rate] = {}
    adversaries = rows[rows["goal"].isin(["adversarial", "label_free"])]
    if len(adversaries):
        each = tried_by_all(adversaries).groupby("id")
        right, wrong = each["right"].all(), each["mistaken"].first()
        fooled, own = (~wrong & ~right).sum(), (~wrong).sum()
        found["accuracy"] = Rate(int(own - fooled), len(wrong))
        found["adversarial_risk"] = Rate(int(fooled), int(own))
    friends = rows[(rows["goal"] == "hypocritical") & rows["mistaken"]]
    if len(friends):
        right = tried_by_all(friends).groupby("id")["right"].any()
        found["hypocritical_risk"] = Rate(int(right.sum()), len(right))
    return found


def _natural(part: "pd.DataFrame", repeats: int) -> list[str]:
    """Format clean accuracy, and the control: right under each of as many draws as attacks."""
    clean = part[part["attack"] == CLEAN]
    if not len(clean):
        return ["  natural accuracy is missing, and with it whose mistakes are whose", ""]
    control = int(clean["defense_repeat"].max()) + 1
    rows = [["", "natural", f"right in {control} draws of {control}"]]
    for defense in _defenses(part):
        one = clean[clean["defense"] == defense]
        first = one[one["defense_repeat"] < repeats]
        always = one.groupby("id")["right"].all()
        rows.append([defense, _mean(first), f"{100 * always.mean():.2f}"])
    note = "  the second column is noise alone, which is no adversary"
    clean = clean[clean["defense_repeat"] == 0]
    lines = [*_rates("natural", clean), *_gains("natural", clean)]
    return [*_grid(rows), note, "", *lines, ""]


def _adversaries(part: "pd.DataFrame") -> list[str]:
    adv = part[part["goal"].isin(["adversarial", "label_free"])]
    battery = adv[~adv["attack"].map(is_adaptive)]
    aware = adv[adv["attack"].map(is_adaptive)]
    unknown = adv[~adv["attack"].str.startswith("known")]
    attacks, defenses = _attacks(battery), _defenses(part)
    rows = [["crafted on the bare net", *attacks, "worst case"]]
    for defense in defenses:
        one = battery[battery["defense"] == defense]
        rows.append(
            [defense, *(_mean(one[one["attack"] == a]) for a in attacks), _mean(_worst(one))]
        )
    name = f"worst case of {battery['attack'].nunique()} attacks"
    worst = _worst(battery)
    lines = [*_grid(rows), "", *_rates(name, worst), *_gains(name, worst), ""]
    rows = [["adaptive attackers", *defenses]]
    for attack in _attacks(aware):
        one = aware[aware["attack"] == attack]
        rows.append([attack, *(_cell(one, attack, defense) for defense in defenses)])
    # An attacker to whom the first draw is leaked is only measured on that.
    everyone = adv[adv["defense_repeat"] == 0]
    for name, chosen in (("best of all", unknown), ("best, noise known*", everyone)):
        rows.append([name, *(_mean(_worst(chosen[chosen["defense"] == d])) for d in defenses)])
    lines += [*_grid(rows), "  * the defender's first draw alone, which `known-...` has", ""]
    best = _worst(unknown)
    lines += [*_rates("best of all", best), *_gains("best of all", best)]
    lines += _rates("best, noise known", _worst(everyone))
    return [*lines, "", *_flips(battery, attacks, defenses)]


def _friends(part: "pd.DataFrame") -> list[str]:
    """Format what false friends conceal: of the bare net's and each defended net's mistakes."""
    hyp = part[(part["goal"] == "hypocritical") & (part["defense_repeat"] == 0)]
    right = part["pred_clean"] == part["y"]
    own = right & (part["goal"] == "hypocritical") & ~part["attack"].map(is_adaptive)
    return ["", *_unmasked(hyp), "", *_own_risks(hyp, known=bool(own.any() or not right.any()))]


def _unmasked(hyp: "pd.DataFrame") -> list[str]:
    """Count the bare net's mistakes that a friend conceals, and that a defence shows again."""
    hyp = hyp[hyp["pred_clean"] != hyp["y"]]
    if not len(hyp):
        return ["the bare net has no mistakes to conceal (n = 0)"]
    defenses = _defenses(hyp)
    head = [f"concealed of {hyp['id'].nunique()}", "none"]
    rows = [head + [f"{d} {of}" for d in defenses[1:] for of in ("leaves", "unmasks", "as itself")]]
    lines = []
    for attack in _attacks(hyp):
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
    return [title, *_grid(rows), "", *lines]


def _own_risks(hyp: "pd.DataFrame", *, known: bool) -> list[str]:
    """Hypocritical risk of each net, defence included, on its own mistakes.

    Args:
        known: friends also went where the bare net is right, and a defended one perhaps not.
    """
    lines = ["hypocritical risk of each net on its own mistakes (D-), behind its first draw"]
    blind = hyp[~hyp["attack"].str.startswith("known")]
    for name, chosen in (("all friends", blind), ("all, noise known", hyp)):
        for defense in _defenses(hyp):
            one = tried_by_all(chosen[chosen["defense"] == defense])
            if defense != "none" and not known:
                risk = "unknown, as friends went to the bare net's mistakes alone"
            else:
                right = one[one["mistaken"]].groupby("id")["right"].any()
                risk = str(Rate(int(right.sum()), len(right)))
            lines.append(f"  {defense}, {name}: {risk}")
    return lines


def _rates(name: str, rows: "pd.DataFrame") -> list[str]:
    """Format each accuracy with its interval, on the first draw."""
    first = rows[rows["defense_repeat"] == 0]
    return [
        f"  {defense}, {name}: {Rate(int(right.sum()), len(right))}"
        for defense in _defenses(rows)
        for right in [first.loc[first["defense"] == defense, "right"]]
    ]


def _gains(name: str, rows: "pd.DataFrame") -> list[str]:
    """Format paired differences: each defence against none, and against random noise."""
    first = rows[rows["defense_repeat"] == 0].set_index(["defense", "id"])["right"]
    defenses = _defenses(rows)
    pairs = [(defense, "none") for defense in defenses[1:]]
    if "random" in defenses:
        pairs += [(one, "random") for one in defenses[1:] if one != "random"]
    return [f"  {one} - {two}, {name}: {_paired(first[one], first[two])}" for one, two in pairs]


def _flips(battery: "pd.DataFrame", attacks: Sequence[str], defenses: Sequence[str]) -> list[str]:
    """Format flips of predictions by a defence (Wu et al. 2021, fig. 2a), means over draws."""
    rows = [["counts", *(f"{d} {c}" for d in defenses[1:] for c in ("FtoT", "TtoF", "FtoF"))]]
    for attack in attacks:
        cells = [attack]
        for defense in defenses[1:]:
            one = battery[(battery["attack"] == attack) & (battery["defense"] == defense)]
            counts = flip_counts(one)
            cells += [f"{counts[name]:.1f}" for name in ("FtoT", "TtoF", "FtoF")]
        rows.append(cells)
    return _grid(rows)


def flip_counts(rows: "pd.DataFrame") -> dict[str, float]:
    """Count FtoT, TtoF, FtoF (to another false class) and unchanged, a mean over the draws.

    Args:
        rows: of `defense_frame`, one attack under one defence.
    """
    draws = max(1, rows["defense_repeat"].nunique())
    was, same = rows["before"] == rows["y"], rows["before"] == rows["pred_pert"]
    counts = {
        "FtoT": ~was & rows["right"],
        "TtoF": was & ~rows["right"],
        "FtoF": ~was & ~rows["right"] & ~same,
        "same": same,
    }
    return {name: float(mask.sum()) / draws for name, mask in counts.items()}


def _worst(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Tell for each example and draw if it is right under every attack."""
    key = ["defense", "defense_repeat", "id"]
    return tried_by_all(rows).groupby(key)["right"].all().reset_index()


def tried_by_all(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Drop examples that some attack has no rows of: lost blocks would look robust."""
    attacks = rows.groupby("id")["attack"].nunique()
    return rows[rows["id"].isin(attacks.index[attacks == rows["attack"].nunique()])]


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


def _attacks(rows: "pd.DataFrame") -> list[str]:
    return _ordered(rows["attack"].unique(), [attack.name for attack in nine(ThreatModel())])


def _defenses(rows: "pd.DataFrame") -> list[str]:
    return _ordered(rows["defense"].unique(), ["none", *DEFENSES])


def _ordered(names: Iterable[str], order: Sequence[str]) -> list[str]:
    found = set(names)
    return [name for name in order if name in found] + sorted(found - set(order))


def _grid(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
