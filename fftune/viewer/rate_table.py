"""Rates of evaluated rows as a viewer shows them: a row a defense and attack, and one sentence."""

from collections.abc import Iterator, Mapping
from typing import Any

from fftune.bracket import brackets
from fftune.config import told_radius
from fftune.evaluation.question import Question
from fftune.outcomes import CERTIFIED, Outcomes
from fftune.report.attack_table import rates
from fftune.report.defended_rows import undefended
from fftune.report.defense_rates import defense_rates
from fftune.risk import Rate
from fftune.viewer.class_risks import plain_cell, told_rate

COLUMNS = ("accuracy", "risk", "inflation", "undecided")
"""Columns after the names of the defense and of the attack."""
NOT_SHOWN = ("majority", "any", "expectation")
"""Ways to count several draws of a defense, of which a table in a terminal tells."""
WORST = "worst case over all attacks"


def rate_table(outcomes: Outcomes) -> list[list[Any]]:
    """Rows of defense, attack, and a cell for each of `COLUMNS`, null where it has no such rate."""
    rows: dict[tuple[str, str], dict[str, Rate]] = {}
    found = {**rates(undefended(outcomes)), **defense_rates(outcomes)}
    for one in brackets(outcomes):
        found |= one.rates()
    for defense, attack, column, rate in _named(found):
        rows.setdefault((defense, attack), {})[column] = rate
    return [
        [*key, *(plain_cell(cells[c]) if c in cells else [None, ""] for c in COLUMNS)]
        for key, cells in rows.items()
    ]


def finding(outcomes: Outcomes, question: Question) -> list[str]:
    """One sentence: what the net errs on, and what false friends and adversaries make of it."""
    found = rates(undefended(outcomes))
    clean = found.get("clean_accuracy")
    if clean is None or not clean.n:
        return []
    said = [f"{question.net or 'The net'} is right on {told_rate(clean)} clean images"]
    for name, words in (
        ("adversarial_risk", "of those it gets right, some attack fools"),
        ("hypocritical_risk", "of its mistakes, some attack conceals"),
    ):
        rate = found.get(f"worst_case/{name}")
        if rate is not None and rate.count:
            said.append(f"{words} {told_rate(rate)}")
    ball = f"{question.norm}, eps {told_radius(question.eps)}"
    return [f"{'; '.join(said)} ({question.data}, {ball}, battery {question.battery})."]


def _named(found: Mapping[str, Rate]) -> Iterator[tuple[str, str, str, Rate]]:
    """Defense, attack and column of each rate, by its name."""
    for name, rate in found.items():
        defense, rest = "none", name
        if name.startswith("defense/"):
            _, defense, rest = name.split("/", 2)
        head, _, attack = rest.partition("/")
        if head in NOT_SHOWN:
            continue
        if head == "worst_case":
            kind, _, column = attack.rpartition("_")
            yield defense, f"{WORST}{f', {kind}' if kind else ''}", column or attack, rate
        elif head in ("clean_accuracy", "natural_risk"):
            yield defense, "none: clean images", head.rpartition("_")[2], rate
        elif head in COLUMNS and attack:
            yield defense, attack, head, rate
        elif head in ("certified_bound", CERTIFIED):
            kind, _, column = attack.rpartition("_")
            yield defense, f"certified bound, {kind}", column, rate
