"""Risk over passes: has a search found what it will find, or would more of it find more?

A row of a search that ends with its first success tells by its passes when that was. The rule is
fixed beforehand: a search has converged where the second half of its passes found at most `LATE` of
the examples at risk, or where all of them are found, as nothing is left then. Searches that take
every step do not tell, and what they alone found counts as found late.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fftune.evaluation.batteries import CANARY_NAME
from fftune.outcomes import CERTIFIED, Outcomes
from fftune.risk import Rate, plain_rate

if TYPE_CHECKING:
    import pandas as pd

LATE = 0.005
"""Largest share of n that the second half of the passes may find."""
SHARES = {"1/8": 0.125, "1/4": 0.25, "1/2": 0.5}
"""Shares of the passes at which a curve is printed, beside all of them."""
TELLING = "first_success"
"""Protocol of the rows whose passes tell when a search succeeded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Risk that one search has found over the passes of an example."""

    goal: str
    attack: str
    n: int
    """Examples at risk: D+ of an adversary, D- of a false friend."""
    budget: int
    """Passes of an example that withstood, their median; the most of any where none did."""
    passes: tuple[int, ...]
    """Forward and backward passes of each success, ascending."""

    def within(self, share: float) -> Rate:
        """Risk found within a share of the passes."""
        return Rate(sum(one <= share * self.budget for one in self.passes), self.n)

    @property
    def late(self) -> Rate:
        """Share of n that the second half of the passes found."""
        return Rate(len(self.passes) - self.within(0.5).count, self.n)

    @property
    def converged(self) -> bool:
        """True where little was found late, or everything."""
        return has_converged(self.late) or len(self.passes) == self.n

    @property
    def plain(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "goal": self.goal,
            "attack": self.attack,
            "n": self.n,
            "budget": self.budget,
            "passes": list(self.passes),
            "converged": self.converged,
        }

    def __str__(self) -> str:
        points = [f"{self.within(share).value:.1%} at {name}" for name, share in SHARES.items()]
        whole = Rate(len(self.passes), self.n).value
        points.append(f"{whole:.1%} at all of {self.budget:,} passes")
        return f"{self.goal} {self.attack}: {', '.join(points)}: {_word(self.converged)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Convergence:
    """Convergence of the worst case over all searches of a goal."""

    goal: str
    found: Rate
    """Successes of all searches together, of the examples at risk."""
    late: Rate | None
    """Share of the examples at risk that no search found in the first half of its passes, but some
    did later; None where no search tells when."""

    @property
    def converged(self) -> bool | None:
        """True where little was found late, or everything; None where that is not known."""
        if self._found_all:
            return True
        return None if self.late is None else has_converged(self.late)

    @property
    def plain(self) -> dict[str, Any]:
        """Plain JSON values."""
        late = None if self.late is None else plain_rate(self.late)
        return {"goal": self.goal, "late": late, "converged": self.converged}

    @property
    def _found_all(self) -> bool:
        return 0 < self.found.n == self.found.count

    def __str__(self) -> str:
        head = f"{self.goal} worst case"
        if self._found_all:
            return f"{head}: converged: all of n = {self.found.n:,} are found"
        if self.late is None:
            return f"{head}: not known, as every search takes all its steps"
        late = f"found late, {self.late.count:,} of n = {self.late.n:,}"
        return f"{head}: {_word(has_converged(self.late))}: {late}"


def has_converged(late: Rate) -> bool:
    """Tell if so little was found late; where nothing is at risk, nothing was."""
    return late.count <= LATE * late.n


def curves(rows: "pd.DataFrame") -> list[Curve]:
    """Curve of every search whose rows tell when it succeeded.

    Args:
        rows: one row an example and attack of one net on one split, with the columns of
            `outcomes.SCHEMA`, and `mistaken`: the net is wrong about the clean example.
    """
    return [
        _curve(goal, str(attack), part)
        for goal, found in _at_risk(rows)
        for attack, part in _telling(found).groupby("attack")
        if len(part)
    ]


def convergences(rows: "pd.DataFrame") -> list[Convergence]:
    """Convergence of the worst case of each goal.

    Args:
        rows: as of `curves`.
    """
    every = []
    for goal, found in _at_risk(rows):
        telling = _telling(found)
        early: set[int] = set()
        for _, part in telling.groupby("attack"):
            half = part["won"] & (part["passes"] <= 0.5 * _budget(part))
            early |= set(part.loc[half, "id"])
        won, n = set(found.loc[found["won"], "id"]), int(found["id"].nunique())
        known = Rate(len(won - early), n) if len(telling) else None
        every.append(Convergence(goal=goal, found=Rate(len(won), n), late=known))
    return every


def convergence_lines(rows: "pd.DataFrame") -> list[str]:
    """Format curves and their worst cases; none without an adversary or a false friend.

    Args:
        rows: as of `curves`.
    """
    found = [*map(str, curves(rows)), *map(str, convergences(rows))]
    rule = (
        f"converged: the second half of the passes finds at most {LATE:.1%} of n, or all is found"
    )
    return [f"  risk over passes; {rule}:", *(f"    {line}" for line in found)] if found else []


def convergence_values(outcomes: Outcomes) -> dict[str, float]:
    """Values of a bare net for charts, as in `converged/adversarial`: 1 or 0, and what came late.

    Args:
        outcomes: on one split.
    """
    found: dict[str, float] = {}
    for one in convergences(_frame(outcomes)):
        if one.converged is not None and one.found.n:
            found[f"converged/{one.goal}"] = float(one.converged)
        if one.late is not None and one.late.n:
            found[f"late/{one.goal}"] = one.late.value
    return found


def convergence_plain(outcomes: Outcomes) -> dict[str, list[dict[str, Any]]]:
    """Curves and worst cases of a bare net as plain JSON values.

    Args:
        outcomes: on one split.
    """
    rows = _frame(outcomes)
    return {
        "searches": [curve.plain for curve in curves(rows)],
        "worst_case": [one.plain for one in convergences(rows)],
    }


def _frame(outcomes: Outcomes) -> "pd.DataFrame":
    frame = outcomes.to_pandas()
    return frame.assign(mistaken=frame["pred_clean"] != frame["y"])


def _at_risk(rows: "pd.DataFrame") -> Iterator[tuple[str, "pd.DataFrame"]]:
    """Rows of the examples at risk, for each goal, with columns `won` and `passes`."""
    right = rows["pred_pert"] == rows["y"]
    rows = rows.assign(right=right, passes=rows["forwards"] + rows["backwards"])
    rows = rows[rows["protocol"].astype(str) != CERTIFIED]
    for goal, mistaken in (("adversarial", False), ("hypocritical", True)):
        part = rows[(rows["goal"].astype(str) == goal) & (rows["mistaken"] == mistaken)]
        if (rows["goal"].astype(str) == goal).any():
            yield goal, part.assign(won=part["right"] == mistaken)


def _telling(found: "pd.DataFrame") -> "pd.DataFrame":
    names = found["attack"].astype(str), found["protocol"].astype(str)
    kept = found[(names[0] != CANARY_NAME) & (names[1] == TELLING)]
    return kept.assign(attack=kept["attack"].astype(str))


def _budget(part: "pd.DataFrame") -> int:
    withstood = part.loc[~part["won"], "passes"]
    if len(withstood):
        return int(withstood.quantile(0.5, interpolation="higher"))
    return int(part["passes"].max()) if len(part) else 0


def _curve(goal: str, attack: str, part: "pd.DataFrame") -> Curve:
    return Curve(
        goal=goal,
        attack=attack,
        n=len(part),
        budget=_budget(part),
        passes=tuple(sorted(int(one) for one in part.loc[part["won"], "passes"])),
    )


def _word(converged: bool) -> str:
    return "converged" if converged else "not converged"
