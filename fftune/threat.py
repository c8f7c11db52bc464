"""Threat model geometry: random starts, steps of steepest ascent, projection onto the ball."""

from math import prod

import torch
from torch import Tensor

from fftune.config import AttackConfig, Norm, ThreatModel
from fftune.keyed_noise import BatchNoise

DEVIATIONS = {"gaussian": 0.01, "narrow": 0.001}
"""Standard deviations of starts: of the authors' code for THRM and TRADES; of TRADES' own code."""


def start(x: Tensor, config: AttackConfig, noise: BatchNoise) -> Tensor:
    """Starting point of a search in the ball around each `x`.

    Args:
        x: (B, C, H, W) float, pixels in [0, 1].
        noise: of this attack and restart, for the examples of x.
    """
    if config.start == "none":
        return x.clone()
    shape = tuple(x.shape[1:])
    if config.start in DEVIATIONS:
        delta = DEVIATIONS[config.start] * noise.normal(shape)
    elif config.threat.norm == "linf":
        delta = config.threat.eps * (2 * noise.uniform(shape) - 1)
    elif config.start == "sphere":
        delta = config.threat.eps * _uniform_on_unit_sphere(noise, shape)
    else:
        delta = config.threat.eps * _uniform_in_unit_ball(noise, shape)
    return project(x + delta.to(x), x, config.threat)


def step(x: Tensor, grad: Tensor, length: float | Tensor, norm: Norm) -> Tensor:
    """Move `x` by `length` in the direction of steepest ascent of `norm`.

    Every coordinate by `length` for linf; along the gradient for l2, where an example whose
    gradient is zero stays.
    """
    if norm == "linf":
        return x + length * grad.sign()
    return x + length * grad / _spread(_l2(grad), grad).clamp_min(torch.finfo(grad.dtype).tiny)


def project(x_pert: Tensor, x: Tensor, threat: ThreatModel) -> Tensor:
    """Project onto the ball around `x`, then onto [0, 1], which never leads out of the ball.

    Without `threat.clamp`, onto the ball alone.
    """
    delta = x_pert - x
    if threat.norm == "linf":
        delta = delta.clamp(-threat.eps, threat.eps)
    else:
        norm = _spread(_l2(delta), delta).clamp_min(torch.finfo(delta.dtype).tiny)
        delta = delta * (threat.eps / norm).clamp_max(1)
    return (x + delta).clamp(0, 1) if threat.clamp else x + delta


def distance(x_pert: Tensor, x: Tensor, norm: Norm) -> Tensor:
    """(B,) float, the distance ||x_pert - x||_norm of each example."""
    delta = x_pert - x
    return delta.abs().flatten(1).amax(1) if norm == "linf" else _l2(delta)


def is_inside(x_pert: Tensor, x: Tensor, threat: ThreatModel) -> bool:
    """Tell if every example lies in its ball and in [0, 1], up to the rounding of floats."""
    if not len(x):
        return True
    near = float(distance(x_pert, x, threat.norm).max()) <= threat.eps * (1 + 1e-5) + 1e-6
    return near and not (threat.clamp and (float(x_pert.min()) < 0 or float(x_pert.max()) > 1))


def _l2(delta: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(delta.flatten(1), dim=1)
    return norm


def _spread(values: Tensor, like: Tensor) -> Tensor:
    """Reshape (B,) to (B, 1, 1, 1)."""
    return values.view(-1, *[1] * (like.dim() - 1))


def _uniform_in_unit_ball(noise: BatchNoise, shape: tuple[int, ...]) -> Tensor:
    """Draw uniformly in the l2 ball of radius 1: a normal direction, a radius of U^(1/d)."""
    direction = _uniform_on_unit_sphere(noise, shape)
    radius = noise.fold("radius").uniform((1,)) ** (1 / prod(shape))
    return direction * _spread(radius, direction)


def _uniform_on_unit_sphere(noise: BatchNoise, shape: tuple[int, ...]) -> Tensor:
    direction = noise.fold("direction").normal(shape)
    return direction / _spread(_l2(direction), direction)
