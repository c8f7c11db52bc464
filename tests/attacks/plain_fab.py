"""FAB a second time (Croce & Hein 2020, "Minimally distorted", alg. 1): one example, one start."""

from collections.abc import Callable

from plain_box_projection import length, to_plane
from torch import Tensor

ALPHA_MAX, ETA, BETA = 0.1, 1.05, 0.9


def fab(
    lead: Callable[[Tensor], tuple[float, Tensor]],
    reached: Callable[[Tensor], bool],
    x: Tensor,
    x_start: Tensor,
    *,
    steps: int,
    norm: str,
) -> tuple[list[Tensor], list[bool]]:
    """x^(0), x^(1), ..., before those across the boundary go back; and which those are.

    Args:
        lead: the goal's logit less its rival's, and the gradient w: the boundary is where
            <w, x - x^(i)> = -lead.
    """
    points, across = [x_start], [reached(x_start)]
    now = x_start
    for _ in range(steps):
        if across[-1]:
            now = (1 - BETA) * x + BETA * now
        value, w = lead(now)
        delta = to_plane(now, w, -value, norm)
        delta_orig = to_plane(x, w, float((w * (now - x)).sum()) - value, norm)
        near, far = length(delta, norm), length(delta_orig, norm)
        alpha = min(near / (near + far), ALPHA_MAX) if near + far else 0
        now = ((1 - alpha) * (now + ETA * delta) + alpha * (x + ETA * delta_orig)).clamp(0, 1)
        points.append(now)
        across.append(reached(now))
    return points, across
