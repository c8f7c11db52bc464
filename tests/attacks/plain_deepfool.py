"""DeepFool a second time (Moosavi-Dezfooli et al. 2016, alg. 2): one example."""

from collections.abc import Callable

from plain_box_projection import length, to_plane
from torch import Tensor


def deepfool(
    exits: Callable[[Tensor], list[tuple[float, Tensor]]],
    reached: Callable[[Tensor], bool],
    x: Tensor,
    *,
    steps: int,
    norm: str,
) -> tuple[list[Tensor], bool]:
    """x, x^(1), ... until the goal is reached; and is it?

    Args:
        exits: of each boundary the lead f of the class beyond it, and its gradient w: the
            boundary is where <w, step> = -f.
    """
    points = [x]
    while not reached(points[-1]) and len(points) <= steps:
        here = points[-1]
        found = [to_plane(here, w, -lead, norm) for lead, w in exits(here) if w.any()]
        step = min(found, key=lambda delta: length(delta, norm)) if found else 0 * here
        points.append((here + 1.02 * step).clamp(0, 1))
    return points, reached(points[-1])
