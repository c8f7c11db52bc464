"""Projected gradient ascent a second time (Madry et al. 2018): one example, one start."""

from collections.abc import Callable

import torch
from torch import Tensor


def to_ball(x_pert: Tensor, x: Tensor, norm: str, eps: float, *, walls: bool = True) -> Tensor:
    """The point of the ball that is nearest, then that of the box."""
    if norm == "linf":
        x_pert = torch.maximum(torch.minimum(x_pert, x + eps), x - eps)
    elif float((x_pert - x).square().sum().sqrt()) > eps:
        x_pert = x + eps * (x_pert - x) / (x_pert - x).square().sum().sqrt()
    return x_pert.clamp(0, 1) if walls else x_pert


def uphill(grad: Tensor, norm: str) -> Tensor:
    """The direction of length 1 that gains most."""
    if norm == "linf":
        return grad.sign()
    return grad / grad.square().sum().sqrt() if grad.any() else grad


def pgd(
    climbed: Callable[[Tensor, int], Tensor],
    x: Tensor,
    x_start: Tensor,
    *,
    steps: int,
    length: float,
    norm: str,
    eps: float,
    walls: bool = True,
) -> list[Tensor]:
    """x^(0), x^(1), ... of x^(k+1) = P(x^(k) + length * uphill(grad of climbed(x^(k), k)))."""
    points = [x_start]
    for k in range(steps):
        here = points[-1].clone().requires_grad_(True)
        (grad,) = torch.autograd.grad(climbed(here, k), here)
        ahead = here.detach() + length * uphill(grad, norm)
        points.append(to_ball(ahead, x, norm, eps, walls=walls))
    return points
