"""Pareto fronts of risks (smaller is better), hypervolume and gaps between fronts."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def non_dominated(points: ArrayLike) -> NDArray[np.bool_]:
    """Mark the points that no other point dominates.

    A point is dominated by one that is nowhere larger and somewhere smaller; equal points do not
    dominate each other. A point with a nan is on no front and dominates none.

    Args:
        points: (n, d), smaller is better.

    Returns:
        (n,) bool.
    """
    p = np.asarray(points, dtype=np.float64)
    if not p.size:
        return np.empty(0, np.bool_)
    no_worse = (p[:, None] <= p).all(axis=2)
    better = (p[:, None] < p).any(axis=2)
    dominated = (no_worse & better).any(axis=0)
    front: NDArray[np.bool_] = np.logical_not(dominated | np.isnan(p).any(axis=1))
    return front


def front_ranks(points: ArrayLike) -> NDArray[np.int64]:
    """Rank points by non-dominated sorting (Deb et al. 2002).

    Args:
        points: (n, d), smaller is better.

    Returns:
        (n,) int64: 0 on the front, 1 on the front of the remaining points, and so on. Points
        with a nan have the last rank.
    """
    p = np.asarray(points)
    ranks, left, rank = np.empty(len(p), np.int64), np.arange(len(p)), 0
    while left.size:
        front = non_dominated(p[left])
        taken = front if front.any() else ~front
        ranks[left[taken]] = rank
        left, rank = left[~taken], rank + 1
    return ranks


def front_order(points: ArrayLike) -> list[int]:
    """Order points by fronts, and each front so that its beginning is spread over it.

    Within a front the point that is least in the first objective comes first, and then always the
    one that is farthest from all before it: an epsilon-net (Clarkson 2006). MOASHA orders so
    (Schmucker et al. 2021). Of equals the earlier comes first.

    Args:
        points: (n, d), smaller is better, in one unit: distances are Euclidean.

    Returns:
        n indices, the best first.
    """
    p, order = np.asarray(points, dtype=np.float64), list[int]()
    ranks = front_ranks(p)
    for rank in range(int(ranks.max(initial=-1)) + 1):
        left = np.flatnonzero(ranks == rank)
        nearest, pick = np.full(len(left), np.inf), int(np.argmin(p[left, 0]))
        for _ in left:
            order.append(int(left[pick]))
            nearest = np.minimum(nearest, np.linalg.norm(p[left] - p[left[pick]], axis=1))
            nearest[pick] = -1.0  # taken
            pick = int(np.argmax(nearest))
    return order


def hypervolume(points: ArrayLike, reference: tuple[float, float] = (1.0, 1.0)) -> float:
    """Compute the area that the front dominates below `reference`; in [0, 1) for risks.

    Points at or beyond the reference, or with a nan, add nothing.

    Args:
        points: (n, 2), smaller is better; they need not be a front.
    """
    p = _pairs(points)
    p = p[(p < reference).all(axis=1)]
    p = p[np.lexsort((p[:, 1], p[:, 0]))]
    lowest = np.minimum.accumulate([reference[1], *p[:, 1]])
    front = p[lowest[1:] < lowest[:-1]]
    area, ceiling = 0.0, reference[1]
    for first, second in front.tolist():
        area += (reference[0] - first) * (ceiling - second)
        ceiling = second
    return float(area)


def curve_at(members: ArrayLike, at: ArrayLike) -> NDArray[np.float64]:
    """Interpolate the second risk of a front at given first risks, linearly between members.

    Members were selected elsewhere (on validation data), so none is dropped here, dominated or
    not. Among members with equal first risk, the smaller second risk counts.

    Args:
        members: (n, 2), in any order.
        at: (m,) first risks.

    Returns:
        (m,); nan outside the members' range, as a front is never extrapolated.
    """
    x, y = _pairs(members).T
    order, at = np.lexsort((y, x)), np.asarray(at, dtype=np.float64)
    if not len(order):
        return np.full(at.shape, np.nan)
    x, first = np.unique(x[order], return_index=True)
    curve = np.interp(at, x, y[order][first], left=np.nan, right=np.nan)
    return np.asarray(curve, dtype=np.float64)


def gap_at(first: ArrayLike, second: ArrayLike, at: ArrayLike) -> NDArray[np.float64]:
    """Second risk of the first front minus that of the second, at the first risks `at`."""
    return curve_at(first, at) - curve_at(second, at)


def common_range(first: ArrayLike, second: ArrayLike) -> tuple[float, float]:
    """Range (low, high) of first risks that both fronts span; (nan, nan) if they do not overlap."""
    one, two = _pairs(first)[:, 0], _pairs(second)[:, 0]
    if not len(one) or not len(two):
        return np.nan, np.nan
    low, high = max(one.min(), two.min()), min(one.max(), two.max())
    return (float(low), float(high)) if low <= high else (np.nan, np.nan)


def cost_to_reach(points: ArrayLike, costs: ArrayLike, share: float = 0.95) -> float:
    """Cumulative cost at which the search reached `share` of its final hypervolume.

    Args:
        points: (n, 2), in the order of the search.
        costs: (n,) cost of each point.
        share: in [0, 1].

    Returns:
        The cost; nan if there are no points.
    """
    p, spent = _pairs(points), np.cumsum(np.asarray(costs, dtype=np.float64))
    goal = share * hypervolume(p)
    reached = (i for i in range(len(p)) if hypervolume(p[: i + 1]) >= goal)
    first = next(reached, None)
    return float(spent[first]) if first is not None else np.nan


def monotonicity_violations(points: ArrayLike) -> list[tuple[int, int]]:
    """List neighbours (i, i + 1) where natural risk falls or hypocritical risk rises with lambda.

    Theory has both the other way round; noise between seeds suffices for a violation.

    Args:
        points: (n, 2), sorted by lambda.
    """
    steps = np.diff(_pairs(points), axis=0)
    broken = (steps[:, 0] < 0) | (steps[:, 1] > 0)
    return [(int(i), int(i) + 1) for i in np.flatnonzero(broken)]


def _pairs(points: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(points, dtype=np.float64).reshape(-1, 2)
