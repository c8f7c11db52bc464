"""Paired comparisons of attacks, nets, and methods over training seeds, with 95 % intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from math import nan, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fftune.errors import DataError
from fftune.outcomes import KEY, Outcomes
from fftune.pareto import common_range, gap_at
from fftune.risk import Rate, Z, clean_prediction, wilson


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """Successes of two attacks on the same `n` examples, counted in pairs.

    Two attacks on one model, or one attack on two models (`common_mistakes`).
    """

    n: int
    both: int
    """Examples on which both attacks succeed."""
    gained: int
    """Examples on which only the first succeeds."""
    lost: int
    """Examples on which only the second succeeds."""

    @classmethod
    def of(cls, first: Outcomes, second: Outcomes, *, wrong_only: bool = False) -> "Paired":
        """Compare two attacks' successes, example by example.

        Args:
            wrong_only: count only examples that the model misclassifies when clean, D-.

        Raises:
            DataError: the two do not have one row for each of the same examples.
        """
        frames = [outcomes.to_pandas().sort_values("id") for outcomes in (first, second)]
        if wrong_only:
            frames = [frame[frame["pred_clean"] != frame["y"]] for frame in frames]
        ids = [frame["id"].tolist() for frame in frames]
        if ids[0] != ids[1] or len(set(ids[0])) < len(ids[0]):
            raise DataError(
                "a comparison needs two attacks on the same examples, one row per example"
            )
        return cls.counted(*(frame["success"].to_numpy() for frame in frames))

    @classmethod
    def counted(cls, a: NDArray[np.bool_], b: NDArray[np.bool_]) -> "Paired":
        """Count two (n,) arrays of successes on the same examples."""
        gained, lost = int((a & ~b).sum()), int((~a & b).sum())
        return cls(n=len(a), both=int((a & b).sum()), gained=gained, lost=lost)

    @property
    def gain(self) -> float:
        """Success rate of the first attack minus that of the second; nan if n is 0."""
        return (self.gained - self.lost) / self.n if self.n else nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the gain (Newcombe 1998, method 10)."""
        return self.interval_at(Z)

    def interval_at(self, z: float) -> tuple[float, float]:
        """Interval of the gain whose ends are `z` standard errors away, were it normal."""
        if not self.n:
            return nan, nan
        p, p_2 = (self.both + self.gained) / self.n, (self.both + self.lost) / self.n
        (low, high), (low_2, high_2) = wilson(p, self.n, z), wilson(p_2, self.n, z)
        phi = self._correlation
        down = sqrt((p - low) ** 2 - 2 * phi * (p - low) * (high_2 - p_2) + (high_2 - p_2) ** 2)
        up = sqrt((high - p) ** 2 - 2 * phi * (high - p) * (p_2 - low_2) + (p_2 - low_2) ** 2)
        return self.gain - down, self.gain + up

    @property
    def _correlation(self) -> float:
        """Phi coefficient of the successes; if positive, corrected for continuity."""
        neither = self.n - self.both - self.gained - self.lost
        cross: float = self.both * neither - self.gained * self.lost
        cross = min(cross, max(0, cross - self.n / 2))
        first = (self.both + self.gained) * (self.lost + neither)
        second = (self.both + self.lost) * (self.gained + neither)
        spread = sqrt(first * second)
        return cross / spread if spread else 0.0

    @property
    def p_value(self) -> float:
        """P value of McNemar's exact test (1947) that the attacks are equally strong."""
        from scipy.special import betainc  # scipy.stats has the test, and takes a second

        if self.gained == self.lost:
            return 1.0
        fewer, discordant = min(self.gained, self.lost), self.gained + self.lost
        return min(1.0, 2 * float(betainc(discordant - fewer, fewer + 1, 0.5)))

    def __str__(self) -> str:
        if not self.n:
            return "undefined (n = 0)"
        low, high = self.interval
        return (
            f"{100 * self.gain:+.1f} points (95 % CI {100 * low:+.1f} to {100 * high:+.1f}, "
            f"{self.gained} gained, {self.lost} lost, n = {self.n:,}, "
            f"McNemar p = {self.p_value:.2g})"
        )


def common_mistakes(first: Outcomes, second: Outcomes) -> Paired:
    """Compare how many mistakes false friends conceal, on the mistakes that two models both make.

    Each model's hypocritical risk is on its own mistakes, and a model that adds easy or hard ones
    changes its risk by that alone; here both are asked about the same images.

    Args:
        first, second: hypocritical rows of one model each, on one split and behind one draw of
            one defense; where there are several attacks, a mistake is concealed if any does it.

    Raises:
        DataError: the two do not have the same examples, labels and attacks.
    """
    wrong, concealed = zip(*(_by_id(outcomes) for outcomes in (first, second)), strict=True)
    attacks = [outcomes.values("attack") for outcomes in (first, second)]
    if not wrong[0].index.equals(wrong[1].index) or attacks[0] != attacks[1]:
        raise DataError("two models can only be compared under the same attacks on the same images")
    both = (wrong[0] & wrong[1]).to_numpy()
    return Paired.counted(*(hidden.to_numpy()[both] for hidden in concealed))


def _by_id(outcomes: Outcomes) -> tuple[Any, Any]:
    """Two columns by id and label: misclassified when clean; right under some attack."""
    frame = outcomes.to_pandas()
    each = frame.groupby(["id", "y"]).size()
    attacks = len(outcomes.values("attack"))
    if outcomes.values("goal") != {"hypocritical"} or not each.eq(attacks).all():
        raise DataError(
            "two models can only be compared by hypocritical rows, one per example and attack"
        )
    frame["wrong"] = clean_prediction(frame) != frame["y"]
    frame["right"] = frame["pred_pert"] == frame["y"]
    grouped = frame.groupby(["id", "y"])
    return grouped["wrong"].first(), grouped["right"].any()


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Row whose prediction differs between two runs."""

    id: int
    attack: str
    goal: str
    target: int
    pred: tuple[int, int]
    """Predicted class in the first run and in the second."""


def moved(first: Outcomes, second: Outcomes) -> tuple[Moved, ...]:
    """List the rows whose predictions differ between two runs of the same attacks.

    Changing block size, hardware or thread count may change a few predictions; otherwise none
    change. `fftune doctor --devices`, and `--block-sizes`, list them with their margins.

    Raises:
        DataError: the two runs do not have the same rows.
    """
    one, two = (outcomes.to_pandas() for outcomes in (first, second))
    if not one[KEY].astype(object).equals(two[KEY].astype(object)):
        raise DataError("predictions can only be compared between two runs with the same rows")
    pred, other = one["pred_pert"], two["pred_pert"]
    differ = pred != other
    keys = zip(*(one.loc[differ, name] for name in ("id", "attack", "goal", "target")), strict=True)
    return tuple(
        Moved(id=int(i), attack=attack, goal=goal, target=int(target), pred=(int(a), int(b)))
        for (i, attack, goal, target), a, b in zip(keys, pred[differ], other[differ], strict=True)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Rate over training seeds: mean, standard deviation and 95 % interval."""

    mean: float
    sd: float
    """Standard deviation between seeds; nan for one seed."""
    low: float
    high: float
    seeds: int
    """Number of training seeds."""

    @classmethod
    def of(cls, rates: Sequence[Rate]) -> "Estimate":
        """Summarise one rate per seed: Wilson's interval for a single seed, no interval for more.

        Counts alone cannot give the latter: models of several seeds err on the same images, and
        the counts do not tell how often.
        """
        values = np.array([rate.value for rate in rates])
        low, high = rates[0].interval if len(rates) == 1 else (nan, nan)
        sd = float(_scatter(values))
        return cls(mean=float(values.mean()), sd=sd, low=low, high=high, seeds=len(rates))

    def __str__(self) -> str:
        if np.isnan(self.mean):
            return "undefined"
        spread = "" if self.seeds == 1 else f", sd {self.sd:.1%} over {self.seeds} seeds"
        return f"{self.mean:.1%} (95 % CI {self.low:.1%} to {self.high:.1%}{spread})"


def risks_over_seeds(
    outcomes: Sequence[Outcomes], *, draws: int = 2000, seed: int = 0
) -> dict[str, Estimate]:
    """Estimate natural and hypocritical risk of one recipe that was trained with several seeds.

    The interval is of a two-level bootstrap: seeds are resampled, then examples, the same ones
    for all seeds.

    Args:
        outcomes: hypocritical rows of one attack on one split, one table per training seed.
        draws: bootstrap samples.
        seed: random seed of the bootstrap.

    Raises:
        DataError: the tables do not cover the same examples.
    """
    ids = outcomes[0].table["id"].to_pylist()
    tables = np.stack([_table(o, ids) for o in outcomes])  # (S, 2, N)
    found = _seed_risks(tables, np.ones(len(ids), np.int64))  # (S, 2)
    rng = np.random.default_rng(seed)
    drawn = np.empty((draws, 2))
    for draw in range(draws):
        weights = np.bincount(rng.integers(len(ids), size=len(ids)), minlength=len(ids))
        drawn[draw] = _drawn_risks(tables, weights, rng.integers(len(tables), size=len(tables)))
    sd = _scatter(found)
    low, high = _quantiles(drawn)
    return {
        name: Estimate(
            mean=float(found[:, i].mean()),
            sd=float(sd[i]),
            low=float(low[i]),
            high=float(high[i]),
            seeds=len(tables),
        )
        for i, name in enumerate(("natural_risk", "hypocritical_risk"))
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class GapBand:
    """Hypocritical risk of a first front minus that of a second, at equal natural risk.

    Defined only where the ranges of both fronts overlap: nothing is extrapolated.
    """

    natural: NDArray[np.float64]
    """(G,) natural risks over the common range; empty if there is none."""
    gap: NDArray[np.float64]
    """(G,) differences in hypocritical risk; negative where the first front is better."""
    low: NDArray[np.float64]
    """(G,) lower end of the pointwise 95 % band; nan where under 90 % of the draws are defined."""
    high: NDArray[np.float64]
    """(G,) upper end, likewise."""


def front_gap(
    first: Sequence[Sequence[Outcomes]],
    second: Sequence[Sequence[Outcomes]],
    *,
    paired: bool = False,
    grid: int = 25,
    draws: int = 1000,
    seed: int = 0,
) -> GapBand:
    """Compare the hypocritical risk of two fronts at equal natural risk, with a bootstrap band.

    Each draw resamples seeds for every trial, and examples once for all trials (all models were
    tested on the same images); the curves through the same members are then computed again.

    Args:
        first, second: for each member of a front, in any order, hypocritical rows of one attack
            on one split, one table per training seed.
        paired: both fronts are of nets of the same trainings, whose seeds are drawn once for all.
        grid: G, natural risks at which the fronts are compared.
        draws: bootstrap samples.
        seed: random seed of the bootstrap.

    Raises:
        DataError: the tables do not cover the same examples.
    """
    ids = first[0][0].table["id"].to_pylist()
    sides = [[np.stack([_table(o, ids) for o in t]) for t in side] for side in (first, second)]
    everyone = np.ones(len(ids), np.int64)
    found = [[_seed_risks(t, everyone).mean(axis=0) for t in side] for side in sides]
    low, high = common_range(*found)
    if not low < high:
        nothing = np.empty(0)
        return GapBand(natural=nothing, gap=nothing, low=nothing, high=nothing)
    natural = np.linspace(low, high, grid)
    rng = np.random.default_rng(seed)
    drawn = np.empty((draws, grid))
    for draw in range(draws):
        weights = np.bincount(rng.integers(len(ids), size=len(ids)), minlength=len(ids))
        sizes = [len(sides[0][0])] if paired else [len(t) for side in sides for t in side]
        kept = cycle([rng.integers(size, size=size) for size in sizes])
        fronts = [[_drawn_risks(t, weights, next(kept)) for t in side] for side in sides]
        drawn[draw] = gap_at(fronts[0], fronts[1], natural)
    enough = np.isfinite(drawn).mean(axis=0) >= 0.9
    below, above = np.where(enough, _quantiles(drawn), nan)
    return GapBand(natural=natural, gap=gap_at(found[0], found[1], natural), low=below, high=above)


def _scatter(seeds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation between seeds, along the first axis; nan for one seed."""
    one = np.full(seeds.shape[1:], nan)
    return np.std(seeds, axis=0, ddof=1) if len(seeds) > 1 else one


def _seed_risks(tables: NDArray[np.bool_], weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """(S, 2) natural and hypocritical risk of each seed; nan where a seed has no mistakes."""
    wrong, concealed = (tables @ weights).T
    ratio = np.divide(concealed, wrong, out=np.full(len(wrong), nan), where=wrong > 0)
    return np.stack([wrong / weights.sum(), ratio], axis=1)


def _drawn_risks(
    tables: NDArray[np.bool_], weights: NDArray[np.int64], kept: NDArray[np.int64]
) -> NDArray[np.float64]:
    risks: NDArray[np.float64] = _seed_risks(tables, weights)[kept].mean(axis=0)
    return risks


def _quantiles(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, M) 95 % interval of each column of (draws, M); nan where no draw is defined."""
    interval = np.full((2, drawn.shape[1]), nan)
    defined = np.isfinite(drawn).any(axis=0)
    interval[:, defined] = np.nanquantile(drawn[:, defined], [0.025, 0.975], axis=0)
    return interval


def _table(outcomes: Outcomes, ids: list[int]) -> NDArray[np.bool_]:
    """(2, N) bool: misclassified when clean; of those, concealed."""
    frame = outcomes.to_pandas().sort_values("id")
    if frame["id"].tolist() != sorted(set(ids)) or set(frame["goal"]) != {"hypocritical"}:
        raise DataError(
            "models can only be compared on the same examples, one hypocritical row per example"
        )
    wrong = frame["pred_clean"] != frame["y"]
    return np.stack([wrong, wrong & frame["success"]])
