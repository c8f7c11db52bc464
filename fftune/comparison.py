"""Is one attack stronger than another, one model safer than another? Paired, with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from fftune.errors import DataError
from fftune.outcomes import KEY, Outcomes
from fftune.risk import Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """Two attacks on the same `n` examples of one model."""

    n: int
    both: int
    gained: int  # only the first succeeded
    lost: int  # only the second did

    @classmethod
    def of(cls, first: Outcomes, second: Outcomes, *, wrong_only: bool = False) -> "Paired":
        """Compare two attacks' successes, example by example.

        Args:
            wrong_only: count only examples that the net gets wrong when clean, D-.

        Raises:
            DataError: the rows are not of the same examples, a row each.
        """
        frames = [outcomes.to_pandas().sort_values("id") for outcomes in (first, second)]
        if wrong_only:
            frames = [frame[frame["pred_clean"] != frame["y"]] for frame in frames]
        one, two = frames
        if one["id"].tolist() != two["id"].tolist() or one["id"].duplicated().any():
            raise DataError("a comparison needs two attacks on the same examples, a row each")
        a, b = one["success"].to_numpy(), two["success"].to_numpy()
        return cls(
            n=len(a), both=int((a & b).sum()), gained=int((a & ~b).sum()), lost=int((~a & b).sum())
        )

    @property
    def gain(self) -> float:
        """How much larger the first one's success rate is; nan where there is no example."""
        return (self.gained - self.lost) / self.n if self.n else nan

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the gain (Newcombe 1998, method 10)."""
        if not self.n:
            return nan, nan
        one, two = self.both + self.gained, self.both + self.lost
        neither = self.n - self.both - self.gained - self.lost
        spread = sqrt(one * (self.n - one) * two * (self.n - two))
        cross = self.both * neither - self.gained * self.lost
        phi = cross / spread if spread else 0
        (low, high), (low_2, high_2) = Rate(one, self.n).interval, Rate(two, self.n).interval
        p, p_2 = one / self.n, two / self.n
        down = sqrt((p - low) ** 2 - 2 * phi * (p - low) * (high_2 - p_2) + (high_2 - p_2) ** 2)
        up = sqrt((high - p) ** 2 - 2 * phi * (high - p) * (p_2 - low_2) + (p_2 - low_2) ** 2)
        return self.gain - down, self.gain + up

    @property
    def p_value(self) -> float:
        """McNemar's exact test (1947): could the attacks be equally strong?"""
        discordant = self.gained + self.lost
        return float(binomtest(self.gained, discordant).pvalue) if discordant else 1.0

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{100 * self.gain:+.1f} points (95 % CI {100 * low:+.1f} to {100 * high:+.1f}, "
            f"{self.gained} gained, {self.lost} lost, n = {self.n:,}, "
            f"McNemar p = {self.p_value:.2g})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A row whose prediction two runs do not share."""

    id: int
    attack: str
    goal: str
    target: int
    pred: tuple[int, int]


def moved(first: Outcomes, second: Outcomes) -> tuple[Moved, ...]:
    """The rows whose predictions two runs of the same attacks do not share, by key.

    Another block size, machine or thread count may move one in a thousand; equal ones none.
    `fftune.evaluate.block.margins` says how near each was to either side.

    Raises:
        DataError: the runs have other rows.
    """
    one, two = (outcomes.to_pandas() for outcomes in (first, second))
    if not one[KEY].astype(object).equals(two[KEY].astype(object)):
        raise DataError("predictions are compared between two runs with the same rows")
    pred, other = one["pred_pert"], two["pred_pert"]
    differ = (pred != other).to_numpy()
    named = zip(
        *(one.loc[differ, name] for name in ("id", "attack", "goal", "target")), strict=True
    )
    return tuple(
        Moved(id=int(i), attack=attack, goal=goal, target=int(target), pred=(int(a), int(b)))
        for (i, attack, goal, target), a, b in zip(named, pred[differ], other[differ], strict=True)
    )


def risk_gap(
    first: Sequence[Outcomes], second: Sequence[Outcomes], *, draws: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Hypocritical risk of the first model less that of the second, and its 95 % interval.

    Their mistakes are on different examples, so examples of D are drawn again and both ratios
    recomputed. Of several training seeds, seeds are drawn first, then examples (two levels):
    the same images seen by several nets are not independent.

    Args:
        first, second: the "hypocritical" rows of one attack on one split, a training seed each.

    Raises:
        DataError: the rows are not of the same examples.
    """
    ids = first[0].table["id"].to_pylist() if first else []
    tables = [np.stack([_table(o, ids) for o in outcomes]) for outcomes in (first, second)]
    rng = np.random.default_rng(seed)
    gaps = np.empty(draws)
    for draw in range(draws):
        weights = np.bincount(rng.integers(len(ids), size=len(ids)), minlength=len(ids))
        one, two = (
            _risk(table[rng.integers(len(table), size=len(table))], weights) for table in tables
        )
        gaps[draw] = one - two
    everyone = np.ones(len(ids), dtype=np.int64)
    low, high = np.nanquantile(gaps, [0.025, 0.975])
    return _risk(tables[0], everyone) - _risk(tables[1], everyone), float(low), float(high)


def _table(outcomes: Outcomes, ids: list[int]) -> NDArray[np.bool_]:
    """(2, N) bool: wrong when clean; wrong when clean and concealed."""
    frame = outcomes.to_pandas().sort_values("id")
    if frame["id"].tolist() != sorted(ids) or set(frame["goal"]) != {"hypocritical"}:
        raise DataError("two models are compared on the same examples of goal 'hypocritical'")
    wrong = (frame["pred_clean"] != frame["y"]).to_numpy()
    return np.stack([wrong, wrong & frame["success"].to_numpy()])


def _risk(table: NDArray[np.bool_], weights: NDArray[np.int64]) -> float:
    """The mean over seeds of concealed / wrong; nan where a seed has no mistakes."""
    wrong, concealed = (table @ weights).T
    return float(np.mean(concealed / wrong)) if wrong.all() else nan
