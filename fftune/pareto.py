"""Fronts of two risks that are both to be small."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def non_dominated(points: ArrayLike) -> NDArray[np.bool_]:
    """(n,) bool: the points that no other point beats.

    A point is beaten by one that is nowhere larger and somewhere smaller; equal points do not
    beat each other. A point with a nan is on no front and beats nobody.

    Args:
        points: (n, 2), smaller is better.
    """
    p = _pairs(points)
    no_worse = (p[:, None] <= p[None]).all(axis=2)
    better = (p[:, None] < p[None]).any(axis=2)
    beaten = (no_worse & better).any(axis=0)
    return np.asarray(~beaten & ~np.isnan(p).any(axis=1))


def hypervolume(points: ArrayLike, reference: tuple[float, float] = (1.0, 1.0)) -> float:
    """The area that the front dominates below `reference`; 1 is unattainable, 0 is nothing.

    Points at or beyond the reference, or with a nan, add nothing.

    Args:
        points: (n, 2), smaller is better; they need not be a front.
    """
    p = _pairs(points)
    p = p[(p < reference).all(axis=1)]
    front = p[non_dominated(p)]
    front = front[np.argsort(front[:, 0], kind="stable")]
    area, ceiling = 0.0, reference[1]
    for first, second in front:
        area += (reference[0] - first) * (ceiling - second)
        ceiling = second
    return float(area)


def _pairs(points: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(points, dtype=np.float64).reshape(-1, 2)
