"""RayS a second time (Chen & Gu 2020, alg. 1-3): one example, asked point by point."""

from collections.abc import Callable

import torch
from torch import Tensor


def rays(
    reached: Callable[[Tensor], bool], x: Tensor, *, eps: float, queries: int, friend: bool
) -> tuple[list[Tensor], Tensor]:
    """Every point asked about, and the success inside the ball, or x itself."""
    asked: list[Tensor] = []

    def at(signs: Tensor, radius: float) -> Tensor:
        return (x + radius * signs.view_as(x)).clamp(0, 1)

    def fooled(signs: Tensor, radius: float) -> bool:
        asked.append(at(signs, radius))
        return reached(asked[-1])

    size = x.numel()
    best = torch.ones(size, dtype=x.dtype)
    radius = 1.0
    if fooled(best, 0.0):
        return asked, x
    flips, level = [slice(0, 0)], 0
    directions = 0
    while len(asked) < queries:
        if not flips:
            width = max(-(-size // 2**level), 1)
            flips = [slice(i, min(i + width, size)) for i in range(0, size, width)]
            level += 1
        tried = best.clone()
        tried[flips.pop(0)] *= -1
        if fooled(tried, radius):
            low, high = 0.0, radius
            while high - low > 1e-3:
                middle = (low + high) / 2
                low, high = (low, middle) if fooled(tried, middle) else (middle, high)
            best, radius = tried, high
            if radius <= eps:
                return asked, at(best, radius)
        directions += 1
        if friend and directions == 2 and radius == 1:
            radius = eps  # a friend's label is seldom found in so ruined an image
    return asked, x
