"""The game of Pal & Vidal 2020 that Wu et al. 2021 recall (D.4): both sides move at once.

The score f is linear within 2 eps of x, and either side adds one vector of an l_2 ball. The
attacker's best move, whatever the defender's, is the fast gradient method (their lemma D.1). A
defender who must not look at x does best by a vector drawn uniformly from the ball: the defense
that batteries call `random`. Here is what that is worth, in closed form.
"""

from dataclasses import dataclass
from math import asin, pi

import torch
from torch import Tensor

CELLS = 20_000
"""Number of cells of the numerical integral; even, for Simpson's rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Game:
    """The attacker's mean utilities, eq. D.1: 1 where the sign of f was turned, else -1."""

    direct: float
    """Utility against no defense."""
    smooth: float
    """Utility against a vector drawn uniformly from the ball."""


def play(margins: Tensor, *, eps: float, eps_d: float, dim: int) -> Game:
    """Mean utility of the fast gradient method against either defense.

    Args:
        margins: (N,) |f(x)| / ||grad f(x)||_2, the l_2 distances to the boundary.
        eps, eps_d: the attacker's radius and the defender's.
        dim: dimension of the input space.
    """
    turned = (margins < eps).double()
    smooth = [smooth_success(float(m), eps=eps, eps_d=eps_d, dim=dim) for m in margins]
    return Game(
        direct=float(2 * turned.mean() - 1),
        smooth=2 * sum(smooth) / len(smooth) - 1,
    )


def smooth_success(margin: float, *, eps: float, eps_d: float, dim: int) -> float:
    """Probability that the attacker succeeds: the drawn vector gives back less than it took.

    Of a vector drawn uniformly from the ball, the part along the gradient, over eps_d, has the
    density (1 - t^2)^((dim - 1) / 2), up to its integral over [-1, 1].
    """
    short = eps - margin
    if abs(short) >= eps_d:
        return float(short > 0)
    return _integral(-pi / 2, asin(short / eps_d), dim) / _integral(-pi / 2, pi / 2, dim)


def _integral(low: float, high: float, dim: int) -> float:
    """Integrate cos^dim by Simpson's rule: the density after t = sin(angle), up to a factor.

    Args:
        low: where the cosine is 0, so that its own weight is no matter.
    """
    at = torch.linspace(low, high, CELLS + 1, dtype=torch.float64)
    weights = torch.full_like(at, 2.0)
    weights[1::2] = 4.0
    weights[-1] = 1.0
    return float((weights * at.cos() ** dim).sum() * (high - low))
