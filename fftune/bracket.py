"""Brackets of a risk: what attacks found, a lower bound, and what is certified, an upper one.

Between the two lie the examples of which neither an attack nor a bound could decide. The two never
cross: an example that is certified and broken is a defect, of the bound, the attack or the verdict.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fftune.errors import CrossedBoundsError
from fftune.outcomes import CERTIFIED, Outcomes
from fftune.risk import Rate

GOALS = {
    "adversarial": ("adversarial risk", "right when clean", "fooled"),
    "hypocritical": ("hypocritical risk", "mistakes", "concealed"),
}
"""Goals that have bounds: the risk, what it is of, and what attacks do."""
BARE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bracket:
    """A risk between two bounds, counted on the examples that have both."""

    split: str
    defense: str
    """Name of the defense; "none" for the bare net."""
    goal: str
    n: int
    """Examples that are right when clean, or mistakes."""
    broken: int
    """Fooled, or concealed, by some attack."""
    open: int
    """Not certified, the broken ones included."""
    crossed: int = 0
    """Certified, and broken under the defense's first draw, whose votes are finite."""

    @property
    def found(self) -> Rate:
        """Lower bound of the risk, by attacks."""
        return Rate(self.broken, self.n)

    @property
    def most(self) -> Rate:
        """Upper bound of the risk, certified."""
        return Rate(self.open, self.n)

    @property
    def undecided(self) -> Rate:
        """Share that is neither broken nor certified."""
        return Rate(self.open - self.broken, self.n)

    def rates(self) -> dict[str, Rate]:
        """Upper bound and what is undecided, by the names of `attack_table.rates`."""
        at = "certified_bound" if self.defense == BARE else f"defense/{self.defense}/{CERTIFIED}"
        return {f"{at}/{self.goal}_risk": self.most, f"{at}/{self.goal}_undecided": self.undecided}

    def __str__(self) -> str:
        name, of, done = GOALS[self.goal]
        if not self.n:
            return f"{name}: undefined, as there are no {of} (n = 0)"
        low, high, between = (
            f"{100 * one.value:.1f} %" for one in (self.found, self.most, self.undecided)
        )
        behind = "" if self.defense == BARE else f" behind {self.defense}"
        said = (
            f"{name}{behind}: at least {low} ({done} by an attack), at most {high} (certified), "
            f"{between} undecided, of {self.n:,} {of}"
        )
        crossed = f"; {self.crossed:,} certified votes lost in a draw of finitely many"
        return said + (crossed if self.crossed else "")


def brackets(outcomes: Outcomes) -> list[Bracket]:
    """Bracket every risk of which there are both a bound and attacks, in rows of one net.

    Raises:
        CrossedBoundsError: an example of the bare net is certified and broken.
    """
    if CERTIFIED not in outcomes.values("protocol"):
        return []
    frame = outcomes.to_pandas()
    is_bound = frame["protocol"] == CERTIFIED
    return of_frames(frame[is_bound], frame[~is_bound])


def of_frames(bounds: Any, attacks: Any) -> list[Bracket]:
    """Bracket risks as `brackets` does, of pandas frames of rows: of bounds, and of attacks."""
    names = dict.fromkeys(["split", "defense", "goal", "attack", "norm"], str)
    parts = (frame[frame["defense_repeat"] == 0].astype(names) for frame in (bounds, attacks))
    return [*_each(*parts)]


def _each(bounds: Any, attacks: Any) -> Iterator[Bracket]:
    for (split, defense, goal, norm, eps), bound in bounds.groupby(
        ["split", "defense", "goal", "norm", "eps"], sort=True
    ):
        near = (attacks["split"] == split) & (attacks["defense"] == defense)
        near &= (attacks["norm"] == norm) & (attacks["eps"] <= eps)
        if near.any():
            yield _bracket(str(split), str(defense), str(goal), bound, attacks[near])


def _bracket(split: str, defense: str, goal: str, bound: Any, attacks: Any) -> Bracket:
    """Bracket one risk; an attack of any goal is a witness."""
    wants_right = goal == "hypocritical"
    clean = bound["pred_clean_defended"].fillna(bound["pred_clean"])
    bound = bound[(clean != bound["y"]) == wants_right].set_index("id")
    witness = attacks[(attacks["pred_pert"] == attacks["y"]) == wants_right]
    broken = bound.index.isin(witness["id"])
    open_ = ((bound["pred_pert"] == bound["y"]) == wants_right).to_numpy()
    crossed = broken & ~open_
    if defense == BARE and crossed.any():
        raise _defect(split, goal, bound[crossed], witness)
    return Bracket(
        split=split,
        defense=defense,
        goal=goal,
        n=len(bound),
        broken=int((broken & open_).sum()),
        open=int(open_.sum()),
        crossed=int(crossed.sum()),
    )


def _defect(split: str, goal: str, crossed: Any, witness: Any) -> CrossedBoundsError:
    """The error of examples that are certified and broken; it names one of them."""
    first = int(crossed.index[0])
    attack = witness.loc[witness["id"] == first, "attack"].iloc[0]
    kept = "right" if goal == "adversarial" else "wrong"
    others = f", and {len(crossed) - 1:,} others are" if len(crossed) > 1 else ""
    return CrossedBoundsError(
        f"a defect of fftune: image {first} of {split!r} is certified to stay {kept}, and "
        f"{attack} breaks it{others}; do not trust these rows"
    )
