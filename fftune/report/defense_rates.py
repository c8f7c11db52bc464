"""Rates of defended nets by name, for records, MLflow and verdicts."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fftune.evaluation.defended import CLEAN
from fftune.expectation import Expectation
from fftune.outcomes import Outcomes
from fftune.report.defended_rows import CONTROL, defense_frame, is_leaked, judged
from fftune.report.resubmission import (
    Resubmitted,
    by_image,
    concealed,
    of_all,
    of_mistakes,
    of_right,
    robust,
    withstood,
)
from fftune.risk import Rate

if TYPE_CHECKING:
    import pandas as pd

ADVERSARIES = ("adversarial", "label_free")
"""Goals of attacks that make a net wrong."""


def defense_rates(outcomes: Outcomes) -> dict[str, Rate]:
    """Rates under each defense, as in `defense/hedge/accuracy/pgd-20 adversarial`.

    Those names are of the first draw; `defense/hedge/majority/accuracy/...` is by the majority of
    m draws, `defense/hedge/any/accuracy/...` by any of them. Risks are on what the defended net
    gets right and wrong in draws of their own; `natural_risk` is the share of the latter. The
    worst case is over all attacks of a goal but those to which the draw is leaked.
    """
    found: dict[str, Rate] = {}
    for defense, under in _behind(outcomes):
        own = under[under["doubt"].notna()].drop_duplicates("id")["doubt"]
        found[f"defense/{defense}/natural_risk"] = Rate(int((own > 0.5).sum()), len(own))
        for name, each in _resubmitted(under):
            for rule, rate in each.counts().items():
                if rule == "one":
                    found[f"defense/{defense}/{name}"] = rate
                elif not _is_of_leaked(name):
                    found[f"defense/{defense}/{rule}/{name}"] = rate
    return found


def defense_expectations(outcomes: Outcomes) -> dict[str, Expectation]:
    """Expectations under each defense, as in `defense/hedge/expectation/accuracy/...`."""
    found: dict[str, Expectation] = {}
    for defense, under in _behind(outcomes):
        at = f"defense/{defense}/expectation"
        own = under[under["doubt"].notna()].drop_duplicates("id")["doubt"]
        found[f"{at}/natural_risk"] = Expectation.of(own.tolist(), [1.0] * len(own))
        found |= {
            f"{at}/{name}": each.expectation
            for name, each in _resubmitted(under)
            if not _is_of_leaked(name)
        }
    return found


def _behind(outcomes: Outcomes) -> "Iterator[tuple[str, pd.DataFrame]]":
    frame = judged(defense_frame(outcomes))
    for defense, under in frame[frame["defense"] != "none"].groupby("defense"):
        yield str(defense), under


def _is_of_leaked(name: str) -> bool:
    return is_leaked(name.partition("/")[2])


def _resubmitted(under: "pd.DataFrame") -> Iterator[tuple[str, Resubmitted]]:
    """Every attack behind one defense, then the worst cases, by the end of their names."""
    for (attack, goal), rows in under.groupby(["attack", "goal"]):
        if goal == CONTROL:
            yield from _control(str(attack), rows)
        elif goal == "targeted":
            for target, one in rows.groupby("target"):
                yield from _of_attack(f"{attack} to class {target} {goal}", "targeted", one)
        else:
            yield from _of_attack(f"{attack} {goal}", str(goal), rows)
    yield from _worst_case(under[~under["attack"].map(is_leaked)])


def _control(attack: str, rows: "pd.DataFrame") -> Iterator[tuple[str, Resubmitted]]:
    wrong, right = by_image(rows, "wrong"), by_image(rows, "right")
    yield "clean_accuracy" if attack == CLEAN else f"accuracy/{attack}", of_all(withstood(wrong))
    yield f"risk/{attack} adversarial", of_right(wrong)
    yield f"risk/{attack} hypocritical", of_mistakes(right)


def _of_attack(name: str, goal: str, rows: "pd.DataFrame") -> Iterator[tuple[str, Resubmitted]]:
    if goal == "hypocritical":
        right = by_image(rows, "right")
        yield f"accuracy/{name}", of_all(right)
        yield f"risk/{name}", of_mistakes(right)
        return
    wrong = by_image(rows, "wrong")
    yield f"accuracy/{name}", of_all(withstood(wrong))
    if goal == "adversarial":
        yield f"risk/{name}", of_right(wrong)
    else:
        reached = by_image(rows, "success")
        yield f"risk/{name}", of_mistakes(reached) if goal == "targeted" else of_all(reached)


def _worst_case(under: "pd.DataFrame") -> Iterator[tuple[str, Resubmitted]]:
    """Accuracy and both risks over all attacks of a goal; D- counts as lost to adversaries."""
    adversaries = under[under["goal"].isin(ADVERSARIES)]
    if len(adversaries):
        wrong = by_image(adversaries, "wrong")
        yield "worst_case/accuracy", of_all(robust(wrong))
        yield "worst_case/adversarial_risk", of_right(wrong)
    friends = under[under["goal"] == "hypocritical"]
    if len(friends):
        right = by_image(friends, "right")
        yield "worst_case/hypocritical_risk", of_mistakes(right)
        doubts = under.drop_duplicates("id").set_index("id")["doubt"]
        if (hidden := concealed(right, doubts)) is not None:
            yield "worst_case/inflation", of_all(hidden)
