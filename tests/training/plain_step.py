"""A training step a second time: the papers' lines one after another, nothing folded or shared."""

import torch
from torch import Tensor, nn

from fftune.keyed_noise import Noise

SIGN = {"pgd_at": 1, "fast_at": 1, "trades": 1, "thrm": -1}
"""Adversaries climb the loss, and TRADES' search climbs a divergence; false friends descend."""


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """(B,) -log p_y."""
    return -logits.softmax(1)[torch.arange(len(y)), y].log()


def divergence(logits: Tensor, logits_pert: Tensor) -> Tensor:
    """(B,) KL(p || q), sum_k p_k log(p_k / q_k)."""
    p, q = logits.softmax(1), logits_pert.softmax(1)
    return (p * (p / q).log()).sum(1)


def perturbed(
    net: nn.Module,
    ids: Tensor,
    x: Tensor,
    y: Tensor,
    *,
    objective: str,
    eps: float,
    length: float,
    steps: int,
    noise: Noise | None,
) -> Tensor:
    """l_inf steps from a uniform start, of the net as it is now, in eval mode.

    Args:
        noise: of the start; none starts at x itself.
    """
    net.eval()
    x_pert = x
    if noise is not None:
        share = noise.fold("pgd").fold(0).uniform(ids, tuple(x.shape[1:]))
        x_pert = torch.clamp(x + (eps * (2 * share - 1)).to(x), 0, 1)
    for _ in range(steps):
        x_pert = x_pert.detach().requires_grad_(True)
        if objective == "trades":
            loss = divergence(net(x).detach(), net(x_pert))
        else:
            loss = cross_entropy(net(x_pert), y)
        (grad,) = torch.autograd.grad(loss.sum(), x_pert)
        x_pert = x_pert + SIGN[objective] * length * grad.sign()
        x_pert = torch.maximum(torch.minimum(x_pert, x + eps), x - eps).clamp(0, 1)
    net.train()
    return x_pert.detach()


def plain_step(
    net: nn.Module,
    batch: tuple[Tensor, Tensor, Tensor],
    *,
    objective: str,
    lam: float,
    cuts: list[int],
    weight: float,
    **search: object,
) -> tuple[float, int]:
    """Leave the gradient of weight x the sum over the batch's losses in the net.

    Args:
        batch: ids, x and y, without padding.
        cuts: the sizes of the parts that go through the net one after another.

    Returns:
        The sum of the losses and the number of right predictions.
    """
    total, right = 0.0, 0
    if lam == 0 and objective in ("trades", "thrm"):
        objective = "standard"
    for ids, x, y in zip(*(column.split(cuts) for column in batch), strict=True):
        if objective == "standard":
            logits = net(x)
            losses = cross_entropy(logits, y)
        else:
            x_pert = perturbed(net, ids, x, y, objective=objective, **search)  # type: ignore[arg-type]
            if objective in ("trades", "thrm"):
                both = net(torch.cat([x, x_pert]))  # one forward: BatchNorm sees both halves
                logits, logits_pert = both[: len(x)], both[len(x) :]
                losses = cross_entropy(logits, y) + lam * divergence(logits, logits_pert)
            else:
                logits = net(x_pert)
                losses = cross_entropy(logits, y)
        (weight * losses.sum()).backward()
        total += float(losses.detach().sum())
        right += int((logits.argmax(1) == y).sum())
    return total, right
