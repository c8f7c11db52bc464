"""Rates of a battery, and their details: two lines for each attack, rates with n and interval."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

from fftune.bracket import of_frames
from fftune.config import told_radius
from fftune.evaluation.batteries import CANARY_NAME, BatterySpec
from fftune.evaluation.canary import told
from fftune.evaluation.certificate import LATE, UNKNOWN
from fftune.evaluation.tiers import CANARY_SEARCHES, TIERS
from fftune.outcomes import CERTIFIED, Outcomes
from fftune.registry import BATTERIES
from fftune.report.convergence import convergence_lines
from fftune.report.optimality import SearchKey, SearchShare, search_shares, share_lines
from fftune.report.terminal import Block
from fftune.risk import Rate, UnionCounts

if TYPE_CHECKING:
    import pandas as pd

BY = ["split", "goal", "attack", "target", "protocol", "tier"]
OPEN = {
    LATE: "the time for bounds was over before they were decided (battery.certify_seconds)",
    UNKNOWN: "the bare net has no bound",
}
"""Statuses of certified bounds, explained."""
NO_ROWS = "no rows: no example is wrong when clean, and risks on D- are undefined (n = 0)"
MEANING = {
    "adversarial": "fooled, of those right when clean",
    "hypocritical": "concealed, of those wrong when clean",
    "targeted": "predicted as the target, of those wrong when clean",
    "stability": "prediction changed",
}


def details(outcomes: Outcomes, seconds: Mapping[SearchKey, float] | None = None) -> list[Block]:
    """Accuracy and risk under every attack, the worst case, and each attack's share of it.

    Args:
        seconds: of each search, where they are known; see `EvalResult.seconds`.
    """
    if not len(outcomes):
        return [NO_ROWS]
    frame, bounds = framed(outcomes)
    several = ensembles()
    lines: list[Block] = []
    for split, part in frame.groupby("split"):
        clean = part.drop_duplicates("id")["right_clean"]
        only_wrong = only_mistakes(part)
        known = f"clean accuracy {Rate(int(clean.sum()), len(clean))}"
        wrong = f"only the {len(clean)} examples that are wrong when clean"
        lines.append(f"{split}: {wrong if only_wrong else known}")
        for line in attack_lines(part):
            length = line.tier if line.attack in several else ""
            name = f"{line.name:22s}{line.protocol:15s}{length:11s}"
            lines.append(f"  {line.goal:13s}{name}accuracy {line.accuracy}")
            lines.append(f"{'':16s}{MEANING[line.goal]}: {line.risk}")
            lines += _inflated(line)
            lines += _remarks(line.statuses)
        lines += _union(UnionCounts.of(outcomes, split=str(split)), part)
        lines += certified_lines(part, bounds[bounds["split"] == split])
        lines += share_lines(_shares(part, seconds))
        lines += convergence_lines(part.assign(mistaken=~part["right_clean"]))
    ensembles_alone = frame[frame["attack"].isin(several)]
    return [*lines, *search_legend(ensembles_alone), *canary_lines(ensembles_alone)]


def ensembles() -> set[str]:
    """Names of attacks of several stages, whose lengths the tier tells."""
    specs = (BATTERIES[name] for name in BATTERIES)
    return {name for spec in specs if isinstance(spec, BatterySpec) for name in spec.ensembles}


def rates(outcomes: Outcomes) -> dict[str, Rate]:
    """Rates by name, as in `accuracy/pgd-20 adversarial`.

    A worst case is told of the goals that attacks have: what nobody tried is not 0. The n of
    `worst_case/accuracy` is smaller where blocks were lost.
    """
    found: dict[str, Rate] = {}
    if not len(outcomes):
        return found
    frame, bounds = framed(outcomes)
    for split, part in frame.groupby("split"):
        union = UnionCounts.of(outcomes, split=str(split))
        clean = part.drop_duplicates("id")["right_clean"]
        if not only_mistakes(part):  # else no score is known
            found["clean_accuracy"] = Rate(int(clean.sum()), len(clean))
        goals = set(part["goal"])
        if goals & {"adversarial", "label_free"}:
            if not only_mistakes(part):
                found["worst_case/accuracy"] = Rate(union.total - union.ever_wrong, union.total)
            found["worst_case/adversarial_risk"] = union.adversarial_risk
        if goals & {"hypocritical", "targeted"}:
            found["worst_case/hypocritical_risk"] = union.hypocritical_risk
        if is_inflated(part, union):
            found["worst_case/inflation"] = union.inflation
        for line in attack_lines(part):
            found[f"accuracy/{line.name} {line.goal}"] = line.accuracy
            found[f"risk/{line.name} {line.goal}"] = line.risk
            if line.inflation is not None:
                found[f"inflation/{line.name} {line.goal}"] = line.inflation
    for line in attack_lines(bounds):
        found[f"certified_bound/{line.goal}_accuracy"] = line.accuracy
        found[f"certified_bound/{line.goal}_risk"] = line.risk
    for one in of_frames(bounds, frame):
        found |= one.rates()
    return found


def shares(
    outcomes: Outcomes, seconds: Mapping[SearchKey, float] | None = None
) -> list[SearchShare]:
    """Share of each search in what all found together, and its cost, on every split."""
    if not len(outcomes):
        return []
    frame, _ = framed(outcomes)
    return [one for _, part in frame.groupby("split") for one in _shares(part, seconds)]


def values(found: Mapping[str, Rate]) -> dict[str, float]:
    """Values of the defined rates, for charts of MLflow, and the n of each worst case."""
    sizes = {
        name.replace("accuracy", "n"): float(rate.n)
        for name, rate in found.items()
        if name.endswith("worst_case/accuracy")
    }
    return {name: rate.value for name, rate in found.items() if rate.n} | sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackLine:
    """Result of one attack on one split."""

    goal: str
    attack: str
    name: str
    protocol: str
    tier: str
    accuracy: Rate
    risk: Rate
    inflation: Rate | None
    """Share of all examples that a false friend conceals; None for other goals, and where the
    attack had some of the examples only."""
    broken: int
    """Right when clean, wrong in the last iterate."""
    statuses: "pd.Series[str]"


def framed(outcomes: Outcomes) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """Rows of attacks, and those of certified bounds."""
    frame = outcomes.to_pandas().astype(dict.fromkeys(BY, str))
    # A false friend's target is the example's own label: no column of its own.
    frame.loc[frame["goal"] != "targeted", "target"] = ""
    frame["right_clean"] = frame["pred_clean"] == frame["y"]
    frame["right"] = frame["pred_pert"] == frame["y"]
    certified = frame["protocol"] == CERTIFIED
    return frame[~certified], frame[certified]


def _shares(part: "pd.DataFrame", seconds: Mapping[SearchKey, float] | None) -> list[SearchShare]:
    return search_shares(part.assign(mistaken=~part["right_clean"]), seconds)


def attack_lines(part: "pd.DataFrame") -> Iterator[AttackLine]:
    """Results of every attack, of the rows of one split as `framed` gives them."""
    scored = 0 if only_mistakes(part) else part["id"].nunique()
    for (goal, attack, target, protocol, tier), rows in part.groupby(BY[1:]):
        base = rows[rows["right_clean"]] if goal == "adversarial" else rows
        base = rows[~rows["right_clean"]] if goal in ("hypocritical", "targeted") else base
        yield AttackLine(
            goal=str(goal),
            attack=str(attack),
            name=f"{attack} to class {target}" if target else str(attack),
            protocol=str(protocol),
            tier=str(tier),
            accuracy=Rate(int(rows["right"].sum()), len(rows)),
            risk=Rate(int(base["success"].sum()), len(base)),
            inflation=Rate(int(base["success"].sum()), len(rows))
            if goal == "hypocritical" and len(rows) == scored
            else None,
            broken=int((rows["right_clean"] & ~rows["right"]).sum()),
            statuses=rows["status"],
        )


def only_mistakes(part: "pd.DataFrame") -> bool:
    """Were mistakes alone attacked, as at classes other than y? No score is known then."""
    return "targeted" in set(part["goal"]) and not part["right_clean"].any()


def is_inflated(part: "pd.DataFrame", union: UnionCounts) -> bool:
    """Did false friends try all examples, so that they may have inflated the score?"""
    everywhere = union.wrong < union.total or not part["right_clean"].any()
    return "hypocritical" in set(part["goal"]) and everywhere and not only_mistakes(part)


def _inflated(line: AttackLine) -> list[str]:
    """Format the inflation of the score, and why F - D is not always that."""
    if line.inflation is None:
        return []
    told = f"{'':16s}inflation of the score, natural x hypocritical risk: {line.inflation}"
    less = f"; F - D is less, as {line.broken:,} right ones are broken" if line.broken else ""
    return [told + less]


def search_legend(ensembles: "pd.DataFrame") -> list[str]:
    """Searches of the ensembles, which are fixed before anything is run."""
    known = set(zip(ensembles["tier"], ensembles["goal"], strict=True))
    lines = []
    for tier, goal in sorted(known, key=lambda pair: (list(TIERS).index(pair[0]), pair[1])):
        less = ", shorter than AutoAttack" if goal == "adversarial" and tier != "full" else ""
        lines.append(f"tier {tier}, {goal}{less}: {TIERS[tier].told(goal)}")
        if tier == "escalating":
            lines.append(f"canary: {CANARY_SEARCHES.told(goal)}")
    return lines


def canary_lines(frame: "pd.DataFrame") -> Iterator[str]:
    """Say what the canary rules out of each ensemble that was not searched again."""
    for (split, goal), part in frame[frame["tier"] == "escalating"].groupby(["split", "goal"]):
        tried = part[part["attack"] == CANARY_NAME]
        rest = part[part["attack"] != CANARY_NAME]
        if len(tried) and len(rest):
            survivors = int((~rest["success"]).sum())
            yield f"{split}, {goal}: {told(len(rest), survivors, len(tried))}"


def certified_lines(part: "pd.DataFrame", bounds: "pd.DataFrame") -> list[str]:
    """Format certified bounds, each beside what the attacks of its goal found."""
    if not len(bounds):
        return []
    norm, eps, n = bounds["norm"].iloc[0], bounds["eps"].iloc[0], bounds["id"].nunique()
    ball = f"{norm} <= {told_radius(float(eps))}"
    lines = [f"  certified bound, which no attack exceeds, for these {n:,} examples, {ball}, fp32:"]
    natural = bounds.drop_duplicates("id")["right_clean"]
    lines.append(f"{'':16s}natural risk {Rate(int((~natural).sum()), n)}")
    for bound in attack_lines(bounds):
        found = [line for line in attack_lines(part) if line.goal == bound.goal]
        adversary = bound.goal == "adversarial"
        column, of = ("A", "D+") if adversary else ("F", "D-")
        pick = min if adversary else max
        accuracy = pick((line.accuracy.value for line in found), default=nan)
        risk = max((line.risk.value for line in found), default=nan)
        least = "at least" if adversary else "at most"
        lines += [
            f"{'':16s}{bound.goal} accuracy {column} {least} {bound.accuracy}, "
            f"attacked {accuracy:.1%}",
            f"{'':16s}{bound.goal} risk on {of} at most {bound.risk}, attacked {risk:.1%}",
        ]
    lines += [f"{'':16s}{one}" for one in of_frames(bounds, part)]
    rows = bounds["status"].value_counts()
    lines += [f"{'':16s}{count} rows: {OPEN[s]}" for s, count in rows.items() if s in OPEN]
    return lines


def _remarks(statuses: "pd.Series[str]") -> list[str]:
    counts = statuses.value_counts()
    return [f"{'':16s}{n} rows: {status}" for status, n in counts.items() if status != "ok" and n]


def _union(counts: UnionCounts, part: "pd.DataFrame") -> list[str]:
    """Format the worst case over all attacks, a lower bound of each risk."""
    goals, examples = set(part["goal"]), part["id"].nunique()
    lines = ["  worst case over all of these, each a lower bound of the risk:"]
    if counts.total < examples:
        few = f"only the {counts.total:,} of {examples:,} examples that every attack has rows of"
        lines.append(f"{'':16s}{few}")
    if "adversarial" in goals:
        worst = Rate(counts.total - counts.ever_wrong, counts.total)
        lines.append(f"{'':16s}accuracy {worst}")
        lines.append(f"{'':16s}adversarial risk on D+ {counts.adversarial_risk}")
    if goals & {"hypocritical", "targeted"}:
        lines.append(f"{'':16s}hypocritical risk on D- {counts.hypocritical_risk}")
    if is_inflated(part, counts):
        lines.append(f"{'':16s}inflation of the score {counts.inflation}")
    return [
        *lines,
        f"{'':16s}stability risk {counts.stability_risk_all}",
        f"{'':16s}last iterates that betrayed their goal: {counts.violations} rows",
    ]
