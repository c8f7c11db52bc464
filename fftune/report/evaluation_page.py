"""Page of one evaluated net: what was asked, a table for each goal, and what it comes to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fftune.bracket import BARE, brackets
from fftune.evaluation.batteries import CANARY_NAME
from fftune.evaluation.question import Question
from fftune.evaluation.scheduler import LostBlock
from fftune.outcomes import Outcomes
from fftune.report.attack_seeds import seed_lines
from fftune.report.attack_table import (
    NO_ROWS,
    AttackLine,
    attack_lines,
    canary_lines,
    certified_lines,
    details,
    ensembles,
    framed,
    is_inflated,
    only_mistakes,
    search_legend,
)
from fftune.report.convergence import convergences
from fftune.report.defended_rows import undefended
from fftune.report.defense_answer import answers, defense_blocks
from fftune.report.defense_table import defense_details
from fftune.report.optimality import SearchKey
from fftune.report.result_page import told
from fftune.report.stored_table import stored_blocks
from fftune.report.terminal import Block, Cell, Grid, Worst, grid
from fftune.risk import Rate, UnionCounts

if TYPE_CHECKING:
    import pandas as pd

LEGEND = {
    "adversarial": "D+: images that the net gets right when clean, which an adversary makes wrong.",
    "hypocritical": "D-: its mistakes, which a false friend makes look right.",
    "targeted": "D-: its mistakes, which are led to a class.",
    "stability": "Changed: predicted as another class than the clean image, right or wrong.",
}
"""Words of the tables explained, by the goal of the attacks."""
BOUND = "What attacks find is a lower bound of the risk."
TIER = "tier: length of an ensemble, which runs its searches in turn on what the last ones left."
STRONG = "strong: pgd-20, then the ensemble."
CANARY = "canary: searches of another kind on images that the ensemble left: did it leave too many?"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedNet:
    """One evaluated net: its rows, and what its page tells beside them."""

    question: Question
    outcomes: Outcomes
    seeds: Sequence[Outcomes] = ()
    """Rows under further seeds of the attackers."""
    seconds: Mapping[SearchKey, float] = field(default_factory=dict)
    lost: Sequence[LostBlock] = ()
    lam: float | None = None
    """Weight lambda of its training, where that is known."""

    @property
    def name(self) -> str:
        """Name that the user gave the net."""
        return self.question.net

    @property
    def bare(self) -> Outcomes:
        """Rows of the battery alone, without a defense."""
        return undefended(self.outcomes)

    @property
    def is_defended(self) -> bool:
        """Was it scored behind a defense, too?"""
        return bool(self.outcomes.defenses)


def net_page(net: EvaluatedNet) -> list[Block]:
    """Lay out all that is to be read of one net."""
    blocks: list[Block] = [*net.question.head(net.lam).splitlines(), ""]
    blocks += [*attack_blocks(net.bare), *seed_lines((net.outcomes, *net.seeds)), ""]
    if net.is_defended:
        blocks += [f"certified, {one}" for one in brackets(net.outcomes) if one.defense != BARE]
        found = answers(net.outcomes)
        blocks += [
            *defense_blocks({net.name: found}),
            "",
            *(str(one) for one in found if one.gain is not None),
            "",
        ]
    if stored := stored_blocks(net.outcomes):
        blocks += [*stored, ""]
    return [*blocks, *net_sentences(net), *(f"MISSING {lost}" for lost in net.lost)]


def net_details(net: EvaluatedNet) -> list[Block]:
    """Lay out what only specialists read: protocols, searches, convergence, every draw."""
    blocks = details(net.bare, net.seconds)
    return [*blocks, "", *defense_details(net.outcomes, net.seconds)] if net.is_defended else blocks


def attack_blocks(bare: Outcomes) -> list[Block]:
    """A table for each goal of a battery, with the words in it explained.

    Args:
        bare: rows of `undefended`.
    """
    if not len(bare):
        return [NO_ROWS]
    frame, bounds = framed(bare)
    blocks: list[Block] = []
    for split, part in frame.groupby("split"):
        union = UnionCounts.of(bare, split=str(split))
        lines = [line for line in attack_lines(part) if line.attack != CANARY_NAME]
        for goal in LEGEND:
            of_goal = [line for line in lines if line.goal == goal]
            if of_goal:
                blocks += [_of_goal(goal, of_goal, union, part), ""]
        blocks += certified_lines(part, bounds[bounds["split"] == split])
        blocks += _lost(union, part)
    return [*blocks, *_legend(frame)]


def net_sentences(net: EvaluatedNet) -> list[str]:
    """Result of an evaluation, a sentence for each split."""
    frame = net.bare.to_pandas() if len(net.bare) else None
    if frame is None:
        return []
    return [
        _sentence(net.name or "the net", net.question.ball, frame[frame["split"] == split], union)
        for split in sorted(net.bare.values("split"))
        for union in [UnionCounts.of(net.bare, split=split)]
    ]


def _of_goal(
    goal: str, lines: Sequence[AttackLine], union: UnionCounts, part: "pd.DataFrame"
) -> Grid:
    """Grid of the attacks of one goal, with the worst case of several."""
    clean = part.drop_duplicates("id")["right_clean"]
    scored = not only_mistakes(part)
    among = {"adversarial": "right when clean", "stability": "all"}
    n = max(line.risk.n for line in lines)
    verb = {"adversarial": "fooled", "hypocritical": "concealed", "stability": "changed"}
    risk = f"{verb.get(goal, 'led to the class')}, of {n:,} {among.get(goal, 'mistakes')}"
    heads = [_ATTACKERS[goal], "accuracy", risk]
    inflated = goal == "hypocritical" and any(line.inflation for line in lines)
    heads += ["score inflated by"] if inflated else []
    rows: list[list[Cell]] = [[*heads]]
    if scored:
        rows.append(["clean images", told(Rate(int(clean.sum()), len(clean)))])
    risks = [line.risk.value for line in lines]
    for line in lines:
        worst = line.risk.n > 0 and line.risk.value == max(risks)
        name = line.name if line.risk.n == n else f"{line.name} (n = {line.risk.n:,})"
        risk = told(line.risk)
        cells = [name, told(line.accuracy), Worst(risk) if worst and len(lines) > 1 else risk]
        rows.append([*cells, told(line.inflation)] if line.inflation else cells)
    if len(lines) > 1 and goal in ("adversarial", "hypocritical"):
        rows.append(_worst_case(goal, union, inflated=inflated))
    return grid(rows, worst="the strongest attack" if len(lines) > 1 else "")


_ATTACKERS = {
    "adversarial": "adversary",
    "hypocritical": "false friend",
    "targeted": "attack",
    "stability": "attack",
}
"""Heads of the first column, by the goal of the attacks."""


def _worst_case(goal: str, union: UnionCounts, *, inflated: bool) -> list[Cell]:
    if goal == "adversarial":
        kept = Rate(union.total - union.ever_wrong, union.total)
        return ["worst case", told(kept), told(union.adversarial_risk)]
    risen = Rate(union.total - union.wrong + union.concealed, union.total)
    cells: list[Cell] = ["worst case", told(risen) if inflated else "", ""]
    cells[2] = told(union.hypocritical_risk)
    return [*cells, told(union.inflation)] if inflated else cells


def _lost(union: UnionCounts, part: "pd.DataFrame") -> list[str]:
    examples = part["id"].nunique()
    if union.total == examples:
        return []
    few = f"only the {union.total:,} of {examples:,} examples that every attack has rows of"
    return [f"The worst case is of {few}."]


def _legend(frame: "pd.DataFrame") -> list[str]:
    """Explain the words of the tables, and the searches of ensembles."""
    goals, attacks = set(frame["goal"]), set(frame["attack"])
    lines = [text for goal, text in LEGEND.items() if goal in goals]
    if frame.groupby("goal")["attack"].nunique().max() > 1:
        lines.append("Worst case: an image counts for it if any of the attacks succeeds on it.")
    alone = frame[frame["attack"].isin(ensembles())]
    words = {STRONG: "strong" in attacks, TIER: len(alone), CANARY: CANARY_NAME in attacks}
    lines += [*(word for word, is_used in words.items() if is_used), *search_legend(alone)]
    lines += canary_lines(alone)
    mistaken = frame.assign(mistaken=~frame["right_clean"])
    lines += [
        f"Not converged: the second half of the {one.goal} searches still found {one.late.count:,} "
        f"of n = {one.late.n:,}, so that more steps would find more."
        for one in convergences(mistaken)
        if one.converged is False and one.late is not None
    ]
    return [" ".join([*lines[: len(goals)], BOUND]), *lines[len(goals) :]]


def _sentence(name: str, ball: str, frame: "pd.DataFrame", union: UnionCounts) -> str:
    goals = set(frame["goal"].astype(str))
    frame = frame.assign(right_clean=frame["pred_clean"] == frame["y"])
    clean = Rate(union.total - union.wrong, union.total)
    parts = []
    if "adversarial" in goals:
        kept = Rate(union.total - union.ever_wrong, union.total)
        parts.append(f"an adversary within {ball} leaves at most {told(kept)} right")
    if goals & {"hypocritical", "targeted"} and union.wrong:
        hidden = f"{told(union.hypocritical_risk)} of its {union.wrong:,} mistakes look right"
        parts.append(f"a false friend makes at least {hidden}")
        if is_inflated(frame, union):
            parts[-1] += f", so that it scores {100 * union.inflation.value:.1f} points more"
    elif goals & {"hypocritical", "targeted"}:
        parts.append("it makes no mistake that a false friend could conceal")
    if only_mistakes(frame):
        start = f"Of {union.total:,} images that {name} gets wrong"
    else:
        start = f"{name} is right on {told(clean)} of {union.total:,} clean images"
    return f"{'; '.join([start, *parts])}."
