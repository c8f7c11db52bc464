"""Rates of attacks as files: of the same points when a PNG or a JPEG has held them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fftune.outcomes import STORED, Outcomes
from fftune.report.result_page import told
from fftune.report.terminal import Block, Cell, grid
from fftune.risk import Rate, clean_prediction

if TYPE_CHECKING:
    import pandas as pd

VERBS = {"adversarial": "fooled", "hypocritical": "concealed"}
"""Goals of attacks whose points are stored, and what they do to an example."""
EXPLAINED = (
    "As files: the same points after a PNG has rounded them to 8 bits inside the ball, or a JPEG "
    "of that quality has held them, outside of it too; D+ and D- are those of the clean images in "
    "the same form."
)


def stored_rates(outcomes: Outcomes) -> dict[str, Rate]:
    """Rates by name, as in `stored/png/risk/pgd-20 hypocritical` and `stored/png/accuracy/...`."""
    return {
        f"stored/{form}/{kind}/{attack} {goal}": rate
        for goal, attack, form, rows in _stored(outcomes)
        if form
        for kind, rate in (("risk", _risk(rows, goal)), ("accuracy", _accuracy(rows)))
    }


def stored_blocks(outcomes: Outcomes) -> list[Block]:
    """A table for each goal, the risk before storage beside that after it; none without forms."""
    forms = sorted(outcomes.stored_forms, key=lambda name: (name != "png", _quality(name)))
    if not forms:
        return []
    found: dict[str, dict[str, dict[str, Rate]]] = {}
    for goal, attack, form, rows in _stored(outcomes):
        found.setdefault(goal, {}).setdefault(attack, {})[form] = _risk(rows, goal)
    blocks: list[Block] = []
    for goal, attacks in found.items():
        heads: list[Cell] = [VERBS[goal], "exact points", *(f"as {form}" for form in forms)]
        body: list[list[Cell]] = [
            [attack, *(told(rates[form]) if form in rates else "" for form in ("", *forms))]
            for attack, rates in attacks.items()
        ]
        blocks += [grid([heads, *body]), ""]
    return [*blocks, EXPLAINED]


def _stored(outcomes: Outcomes) -> "Iterator[tuple[str, str, str, pd.DataFrame]]":
    """Goal, attack, form ("" for the exact points) and rows of each attack that was stored."""
    names = dict.fromkeys(("attack", "goal", "defense"), str)
    frame = outcomes.to_pandas().astype(names)
    frame = frame[frame["goal"].isin(VERBS)]
    is_stored = frame["defense"].str.startswith(STORED)
    kept = frame[is_stored | (frame["defense"] == "none")]
    attacks = set(frame.loc[is_stored, "attack"])
    for (goal, attack, form), rows in kept.groupby(["goal", "attack", "defense"]):
        if attack in attacks:
            yield str(goal), str(attack), str(form).removeprefix(STORED).replace("none", ""), rows


def _risk(rows: "pd.DataFrame", goal: str) -> Rate:
    """Share of D+ that is fooled, or of D- that is concealed, by the clean images' own form."""
    right = clean_prediction(rows) == rows["y"]
    at_risk = rows[right if goal == "adversarial" else ~right]
    return Rate(int(at_risk["success"].sum()), len(at_risk))


def _accuracy(rows: "pd.DataFrame") -> Rate:
    return Rate(int((rows["pred_pert"] == rows["y"]).sum()), len(rows))


def _quality(form: str) -> int:
    """Quality of a JPEG, so that better ones come first; 0 for a PNG."""
    quality = form.rpartition("-")[2]
    return -int(quality) if quality.isdecimal() else 0
