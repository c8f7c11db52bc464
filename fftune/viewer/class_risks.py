"""Risks by class, with intervals, and the classes that fare worst."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fftune.risk import Rate, tried_by_all
from fftune.viewer.seen import Seen

SAID = {
    "natural": "errs most on",
    "adversarial": "is fooled most often on",
    "hypocritical": "has its mistakes concealed most often on",
}
"""Verbs of the sentence about the worst class, by risk."""


@dataclass(frozen=True, slots=True)
class ClassRisk:
    """Risks on the images of one class, or on all."""

    label: int | None
    """The class; None for all."""
    natural: Rate
    adversarial: Rate
    hypocritical: Rate


def class_risks(one: Seen) -> list[ClassRisk]:
    """Risks over all attacks that count, on all images and by class.

    An image that some attack was not run on is left out of the risk that the attack is part of;
    natural risk is of all images, and undefined where mistakes alone were attacked.
    """
    frame = one.frame[one.frame["counts"]].copy()
    if not len(frame):
        return []
    frame["wrong_now"] = frame["pred_pert"] != frame["y"]
    frame["wrong"] = frame["clean"] != frame["y"]
    each = frame.groupby("id").agg(
        y=("y", "first"),
        wrong=("wrong", "first"),
        ever=("wrong_now", "any"),
        all=("wrong_now", "all"),
    )
    each["fooled"], each["concealed"] = each["ever"], ~each["all"]
    tried = [i for _, rows in frame.groupby("wrong") for i in tried_by_all(rows)]
    each["tried"] = each.index.isin(tried)
    parts: list[tuple[int | None, pd.DataFrame]] = [(None, each)]
    parts += [(int(str(label)), part) for label, part in each.groupby("y")]
    goals = set(frame["goal"])
    only_mistakes = "targeted" in goals and bool(each["wrong"].all())
    return [_risk(label, part, goals, only_mistakes) for label, part in parts]


def worst_classes(risks: list[ClassRisk], names: tuple[str, ...]) -> Iterator[str]:
    """Name the class that fares worst in each risk.

    It is the one whose interval begins highest: of few images a rate says little.
    """
    for risk, verb in SAID.items():
        known = [r for r in risks if r.label is not None and getattr(r, risk).n]
        if len(known) < 2 or not any(getattr(r, risk).count for r in known):
            continue
        worst = max(known, key=lambda r: getattr(r, risk).interval[0])
        rate = getattr(worst, risk)
        yield f"It {verb} {class_name(worst.label, names)}: {told_rate(rate)}."


def class_name(label: int | None, names: tuple[str, ...]) -> str:
    """A class as it is shown: its name, with its label where the two differ."""
    if label is None:
        return "all classes"
    name = names[label] if 0 <= label < len(names) else str(label)
    return f"class {label}" if name == str(label) else f"{name} (class {label})"


def told_rate(rate: Rate) -> str:
    """Format a rate, as in "29.4 % (26.7 to 32.3), n = 1,088"."""
    if not rate.n:
        return "undefined (n = 0)"
    low, high = (100 * end for end in rate.interval)
    return f"{100 * rate.value:.1f} % ({low:.1f} to {high:.1f}), n = {rate.n:,}"


def plain_cell(rate: Rate) -> list[Any]:
    """A rate as a cell of a table: its value by which rows are sorted, or null, and its text."""
    return [rate.value if rate.n else None, told_rate(rate)]


def _risk(label: int | None, part: pd.DataFrame, goals: set[str], only_mistakes: bool) -> ClassRisk:
    wrong, tried = part[part["wrong"] & part["tried"]], part[~part["wrong"] & part["tried"]]
    adversaries = bool(goals & {"adversarial", "label_free", "stability"})
    friends = bool(goals & {"hypocritical", "targeted"})
    none = Rate(0, 0)
    return ClassRisk(
        label=label,
        natural=none if only_mistakes else Rate(int(part["wrong"].sum()), len(part)),
        adversarial=Rate(int(tried["fooled"].sum()), len(tried)) if adversaries else none,
        hypocritical=Rate(int(wrong["concealed"].sum()), len(wrong)) if friends else none,
    )
