"""l_p distances of every row to every row, for any p from 1 to infinity, in bounded memory."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = {"cpu": 2**20, "cuda": 2**27}
"""Number of differences held at once: 4 MiB suit a CPU's cache, 512 MiB a GPU."""


def distances(x: Tensor, w: Tensor, p: float) -> Tensor:
    """(B, O) ||x_b - w_o||_p.

    The gradient at p = infinity is that of the largest difference; where distance is 0 it is 0.

    Args:
        x: (B, I).
        w: (O, I).
        p: at least 1.
    """
    if math.isinf(p):  # torch's own is as fast as memory here; for other p it is slow or infinite
        return torch.cat([torch.cdist(x, w[part], p=p) for part in _parts(x, w)], 1)
    found: Tensor = _Distances.apply(x, w, p)
    return found


class _Distances(torch.autograd.Function):
    """m (sum_i (|x_i - w_i| / m)^p)^(1/p), m the largest difference: no power overflows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, p: float) -> Tensor:
        found = x.new_empty(len(x), len(w))
        for part in _parts(x, w):
            share = (x[:, None] - w[part]).abs_()
            most = share.amax(2).clamp_min_(torch.finfo(x.dtype).tiny)
            found[:, part] = share.div_(most[..., None]).pow_(p).sum(2).pow_(1 / p).mul_(most)
        ctx.save_for_backward(x, w, found)
        ctx.p = p
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """The slope along x_i is sign(x_i - w_i) (|x_i - w_i| / ||x - w||_p)^(p - 1)."""
        x, w, found = ctx.saved_tensors
        to_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        to_w = torch.zeros_like(w) if ctx.needs_input_grad[1] else None
        for part in _parts(x, w):
            difference = x[:, None] - w[part]
            length = found[:, part, None].clamp_min(torch.finfo(x.dtype).tiny)
            slope = (difference.abs() / length).pow_(ctx.p - 1).copysign_(difference)
            slope.mul_(grad[:, part, None])
            if to_x is not None:
                to_x += slope.sum(1)
            if to_w is not None:
                to_w[part] = -slope.sum(0)
        return to_x, to_w, None


def _parts(x: Tensor, w: Tensor) -> Iterator[slice]:
    """Rows of `w` whose differences to all of `x` fit into one chunk."""
    step = max(1, CHUNK.get(x.device.type, CHUNK["cpu"]) // max(1, x.numel()))
    for first in range(0, len(w), step):
        yield slice(first, first + step)
