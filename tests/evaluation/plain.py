"""Searches a second time: one example after another, nothing packed, nothing shared."""

import torch
from torch import Tensor, nn


def deepfool_linf(net: nn.Module, x: Tensor, y: int, *, steps: int, rivals: int) -> Tensor:
    """(1, C, H, W): Moosavi-Dezfooli et al. 2016, alg. 2 for p = infinity, until it crosses."""
    x_pert = x.clone()
    for _ in range(steps):
        x_pert.requires_grad_(True)
        z = net(x_pert)[0]
        if int(z.argmax()) != y:
            break
        exits = []
        for k in [int(k) for k in z.argsort(descending=True) if int(k) != y][:rivals]:
            (w,) = torch.autograd.grad(z[k] - z[y], x_pert, retain_graph=True)
            exits.append(_shortest(x_pert.detach(), w, float((z[y] - z[k]).detach())))
        x_pert = x_pert.detach()
        shortest = min(exits, key=lambda delta: float(delta.abs().max()))
        x_pert = (x_pert + 1.02 * shortest).clamp(0, 1)
    return x_pert.detach()


def _shortest(x: Tensor, w: Tensor, c: float) -> Tensor:
    """The least linf step with <w, step> = c that keeps to [0, 1], by bisection."""
    room = torch.where(w > 0, 1 - x, x).double()
    low, high, weight = 0.0, 1.0, w.abs().double()
    for _ in range(60):
        middle = (low + high) / 2
        far = float((weight * room.clamp_max(middle)).sum()) >= c
        low, high = (low, middle) if far else (middle, high)
    return (w.sign() * room.clamp_max(high)).float()


def rays(net: nn.Module, x: Tensor, y: int, *, queries: int, eps: float) -> tuple[bool, int]:
    """Chen & Gu 2020, alg. 1 and 3: is a radius of eps reached, and queries asked until then."""
    asked = 0

    def fooled(signs: Tensor, radius: float) -> bool:
        nonlocal asked
        asked += 1
        with torch.no_grad():
            return int(net((x + radius * signs.view_as(x)).clamp(0, 1)).argmax()) != y

    signs, radius = torch.ones(x.numel()), 1.0
    if fooled(signs, 0.0):
        return True, asked
    level, block, size = 0, 0, x.numel()
    tried = signs
    while True:
        if asked >= queries:
            return False, asked
        if fooled(tried, radius):
            low, high = 0.0, radius
            while high - low > 1e-3:
                middle = (low + high) / 2
                low, high = (low, middle) if fooled(tried, middle) else (middle, high)
            signs, radius = tried, high
            if radius <= eps:
                return True, asked
        width = -(-size // 2**level)
        if block * width >= size:
            level, block = level + 1, 0
            width = -(-size // 2**level)
        tried = signs.clone()
        tried[block * width : (block + 1) * width] *= -1
        block += 1


def pgd_margin(net: nn.Module, x: Tensor, y: Tensor, *, eps: float, steps: int) -> Tensor:
    """(B, C, H, W): what both papers call C&W, with a start from torch's own stream."""
    x_pert = (x + torch.empty_like(x).uniform_(-eps, eps)).clamp(0, 1)
    for _ in range(steps):
        x_pert.requires_grad_(True)
        z = net(x_pert)
        right = nn.functional.one_hot(y, z.shape[1]).bool()
        loss = z.masked_fill(right, -1e9).max(1).values - z[right]
        (grad,) = torch.autograd.grad(loss.sum(), x_pert)
        x_pert = x_pert.detach() + eps / 4 * grad.sign()
        x_pert = torch.minimum(torch.maximum(x_pert, x - eps), x + eps).clamp(0, 1)
    return x_pert.detach()
