"""Fronts of risks that are all to be small; most of it is about two."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def non_dominated(points: ArrayLike) -> NDArray[np.bool_]:
    """(n,) bool: the points that no other point beats.

    A point is beaten by one that is nowhere larger and somewhere smaller; equal points do not
    beat each other. A point with a nan is on no front and beats nobody.

    Args:
        points: (n, d), smaller is better.
    """
    p = np.asarray(points, dtype=np.float64)
    if not p.size:
        return np.empty(0, np.bool_)
    no_worse = (p[:, None] <= p).all(axis=2)
    better = (p[:, None] < p).any(axis=2)
    beaten = (no_worse & better).any(axis=0)
    front: NDArray[np.bool_] = np.logical_not(beaten | np.isnan(p).any(axis=1))
    return front


def front_ranks(points: ArrayLike) -> NDArray[np.int64]:
    """(n,): 0 on the front, 1 on the front of what is left, and so on (Deb et al. 2002).

    A point with a nan comes last.

    Args:
        points: (n, d), smaller is better.
    """
    p = np.asarray(points)
    ranks, left, rank = np.empty(len(p), np.int64), np.arange(len(p)), 0
    while left.size:
        front = non_dominated(p[left])
        taken = front if front.any() else ~front
        ranks[left[taken]] = rank
        left, rank = left[~taken], rank + 1
    return ranks


def hypervolume(points: ArrayLike, reference: tuple[float, float] = (1.0, 1.0)) -> float:
    """The area that the front dominates below `reference`; 1 is unattainable, 0 is nothing.

    Points at or beyond the reference, or with a nan, add nothing.

    Args:
        points: (n, 2), smaller is better; they need not be a front.
    """
    p = _pairs(points)
    p = p[(p < reference).all(axis=1)]
    front = p[non_dominated(p)]
    front = front[np.argsort(front[:, 0])]
    area, ceiling = 0.0, reference[1]
    for first, second in front:
        area += (reference[0] - first) * (ceiling - second)
        ceiling = second
    return float(area)


def curve_at(members: ArrayLike, at: ArrayLike) -> NDArray[np.float64]:
    """The second risk along a front, at first risks `at`, on lines between its members.

    Members were chosen elsewhere (on validation data): none is dropped here, beaten or not. Of
    members with the same first risk the one with the smaller second risk counts.

    nan outside the members' range: a front is never extrapolated.

    Args:
        members: (n, 2), in any order.
        at: (m,)
    """
    x, y = _pairs(members).T
    order, at = np.lexsort((y, x)), np.asarray(at, dtype=np.float64)
    if not len(order):
        return np.full(at.shape, np.nan)
    x, first = np.unique(x[order], return_index=True)
    curve = np.interp(at, x, y[order][first], left=np.nan, right=np.nan)
    return np.asarray(curve, dtype=np.float64)


def gap_at(first: ArrayLike, second: ArrayLike, at: ArrayLike) -> NDArray[np.float64]:
    """The second risk of the first front less that of the second one, at equal first risks."""
    return curve_at(first, at) - curve_at(second, at)


def common_range(first: ArrayLike, second: ArrayLike) -> tuple[float, float]:
    """The first risks that the members of both fronts span, (low, high); else (nan, nan)."""
    one, two = _pairs(first)[:, 0], _pairs(second)[:, 0]
    if not len(one) or not len(two):
        return np.nan, np.nan
    low, high = max(one.min(), two.min()), min(one.max(), two.max())
    return (float(low), float(high)) if low <= high else (np.nan, np.nan)


def cost_to_reach(points: ArrayLike, costs: ArrayLike, share: float = 0.95) -> float:
    """What had been spent when the points tried so far had `share` of the final hypervolume.

    Args:
        points: (n, 2) in the order in which they were tried.
        costs: (n,), of each.
    """
    p, spent = _pairs(points), np.cumsum(np.asarray(costs, dtype=np.float64))
    goal = share * hypervolume(p)
    reached = (i for i in range(len(p)) if hypervolume(p[: i + 1]) >= goal)
    first = next(reached, None)
    return float(spent[first]) if first is not None else np.nan


def monotonicity_violations(points: ArrayLike) -> list[tuple[int, int]]:
    """Neighbours (i, i + 1), by lambda, where natural risk falls or hypocritical risk rises.

    More lambda should do the opposite of both. Seeds' noise suffices to break it.

    Args:
        points: (n, 2), sorted by lambda.
    """
    steps = np.diff(_pairs(points), axis=0)
    broken = (steps[:, 0] < 0) | (steps[:, 1] > 0)
    return [(int(i), int(i) + 1) for i in np.flatnonzero(broken)]


def _pairs(points: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(points, dtype=np.float64).reshape(-1, 2)
