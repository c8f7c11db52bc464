"""Projection onto a hyperplane inside the box of pixels."""

import torch
from torch import Tensor

from fftune.capture import unseen
from fftune.config import Norm

RECORDED = 24
"""Newton steps of a recorded projection, which cannot look whether it has arrived: where more were
needed, the point lies a little short of the hyperplane."""


def project_to_hyperplane(x: Tensor, w: Tensor, c: Tensor, norm: Norm) -> Tensor:
    """Smallest delta with <w, delta> = c and x + delta in [0, 1], for each row.

    Where the box holds no such point, the corner that comes nearest to it. (Croce & Hein 2020,
    "Minimally distorted adversarial examples", sec. 3.1.)

    The solution is delta_i = sign_i min(m s_i, r_i), with r_i the room up to the wall, s_i = 1
    for linf and |w_i| for l2, and the multiplier m that meets c; Newton's method from m = 0
    comes to it from below. Each of its steps but the last passes a wall, so that a step a pixel is
    enough; few are taken.

    Args:
        x, w: (R, C, H, W); x in [0, 1].
        c: (R,).
    """
    shape, x, w = x.shape, x.flatten(1), w.flatten(1)
    w, c = w * c.sign()[:, None], c.abs()
    weight = w.abs()
    room = torch.where(w > 0, 1 - x, x)
    speed = torch.ones_like(w) if norm == "linf" else weight
    gain = weight * speed
    m = torch.zeros_like(c)
    for _ in range(min(x.shape[1], RECORDED) if unseen() else x.shape[1]):
        move = torch.minimum(m[:, None] * speed, room)
        missing = c - (weight * move).sum(1)
        slope = (gain * (move < room)).sum(1)
        # Where all walls are reached, and where the gradient is zero, there is nothing to gain.
        ahead = torch.where((missing > 0) & (slope > 0), missing / slope.clamp_min(1e-30), 0)
        m = m + ahead
        if not unseen() and bool((ahead <= 1e-6 * m).all()):
            break
    return (w.sign() * torch.minimum(m[:, None] * speed, room)).view(shape)
