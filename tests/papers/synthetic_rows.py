"""Rows of nets that never were: 10,000 images whose counts give accuracies chosen beforehand."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations_with_replacement
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fftune.outcomes import SCHEMA, Outcomes, rows
from fftune.papers.declarations import Exam, Need, Setup
from fftune.papers.results import Results

COUNT = 10_000
"""Images: an accuracy in hundredths of a percent is a count of them."""
FULL = Setup(scale="full")


@dataclass(frozen=True, kw_only=True, eq=False)
class Synthetic(Results):
    """Results that answer every evaluation from a function of it; None: it failed."""

    answer: Callable[[Exam], Outcomes | None] = field(default=lambda _exam: None)

    def rows(self, exam: Exam) -> Outcomes | None:
        return self.answer(exam)

    def why_missing(self, need: Need) -> str:
        return f"{need} failed"


def synthetic(answer: Callable[[Exam], Outcomes | None], setup: Setup = FULL) -> Synthetic:
    return Synthetic(setup=setup, root=Path("nowhere"), answer=answer)


@cache
def both_goals(d: float, a: float, f: float, attack: str = "pgd-20") -> Outcomes:
    """Rows of an attack for both goals: accuracies in percent, clean and under either goal."""
    adversarial = _goal(_count(d), _count(a), attack, "adversarial")
    hypocritical = _goal(_count(d), _count(f), attack, "hypocritical")
    return Outcomes(pa.concat_tables([adversarial, hypocritical]))


def of_one_class(wrong: int) -> Outcomes:
    """Rows of a net that answers class 1 for all images, `wrong` of which are of class 0."""
    share = 100 - wrong / 100
    table = both_goals(share, share, share).table
    y, ones = np.arange(COUNT) >= wrong, np.ones(COUNT)
    for name in ("y", "pred_clean", "pred_clean_defended", "pred_pert"):
        values = np.tile(y if name == "y" else ones, 2).astype(np.int32)
        table = table.set_column(SCHEMA.get_field_index(name), name, [values])
    return Outcomes(table)


def friends(d: float, under: Mapping[str, float]) -> Outcomes:
    """Rows of hypocritical attacks, by the accuracy under each."""
    tables = [_goal(_count(d), _count(f), attack, "hypocritical") for attack, f in under.items()]
    return Outcomes(pa.concat_tables(tables).unify_dictionaries())


def seeds_with(centre: float, sd: float, seeds: int = 5) -> list[float]:
    """Accuracies of five seeds whose mean and deviation are these ones as they are printed."""
    for values in _candidates(round(100 * centre), sd * 100):
        percents = [value / 100 for value in values]
        if _printed(mean(percents), centre) and _printed(stdev(percents), sd):
            return percents
    raise AssertionError(f"no {seeds} counts have mean {centre} and deviation {sd}")


def _candidates(centre: int, sd: float) -> Iterator[tuple[int, ...]]:
    """Two seeds off the mean by equal amounts, or one far and four near, with a little play."""
    wide, near = round(sd * 2**0.5), sd / 5**0.5
    yield _inside((centre - wide, centre, centre, centre, centre + wide))
    for sign in (1, -1):
        rest, far = centre - sign * round(near), centre + sign * round(4 * near)
        for play in combinations_with_replacement(range(-3, 4), 2):
            yield _inside((rest + play[0],) * 4 + (far + play[1],))
            yield _inside((rest + play[1],) * 4 + (far + play[0],))


def _inside(values: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(min(max(value, 0), COUNT) for value in values)


def _printed(value: float, as_printed: float) -> bool:
    return abs(value - as_printed) < 0.005 + 1e-9


def _count(percent: float) -> int:
    return round(percent * COUNT / 100)


def _goal(right: int, right_pert: int, attack: str, goal: str) -> pa.Table:
    """The first `right` images are correct when clean, the first `right_pert` when perturbed."""
    table = _template(attack, goal)
    columns = {
        "pred_clean": _wrong_from(right),
        "pred_clean_defended": _wrong_from(right),
        "pred_pert": _wrong_from(right_pert),
        "success": (np.arange(COUNT) < right_pert) == (goal == "hypocritical"),
    }
    for name, values in columns.items():
        at = SCHEMA.get_field_index(name)
        table = table.set_column(at, SCHEMA.field(at), pa.array(values, SCHEMA.field(at).type))
    return table


def _wrong_from(first: int) -> NDArray[np.int32]:
    return (np.arange(COUNT) >= first).astype(np.int32)


@cache
def _template(attack: str, goal: str) -> pa.Table:
    columns = {"split": "test", "id": range(COUNT), "attack": attack, "goal": goal, "y": 0}
    zeros = {"seed": 0, "restart": 0, "defense_repeat": 0, "pred_clean": 0, "pred_pert": 0}
    counts = {"queries": 0, "forwards": 0, "backwards": 0, "distance": 0.0, "eps": 8 / 255}
    words = {"dataset_hash": "d", "model_hash": "m", "config_hash": "c", "norm": "linf"}
    more = {"protocol": "last_iterate", "tier": "full", "defense": "none", "status": "ok"}
    plain = rows(
        COUNT, {**columns, **zeros, **counts, **words, **more, "target": 0, "success": False}
    )
    return plain.cast(SCHEMA)
