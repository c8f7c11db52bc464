"""Projected gradient ascent on the goal's loss."""

import torch
from torch import Tensor, nn

from fftune.attacks.losses import attack_loss
from fftune.config import AttackConfig, Goal, Loss
from fftune.noise import Noise
from fftune.threat import project, start, step


def pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    config: AttackConfig,
    goal: Goal,
    loss: Loss,
    noise: Noise,
    ids: Tensor,
) -> Tensor:
    """Perturb `x` to make the model wrong about `y`, to make it look right, or to sway it.

    Madry et al. 2018 for "adversarial"; Tao et al. 2022, sec. 3.1, for "hypocritical", which
    differs in the sign of the loss and in nothing else. All steps are taken and the last
    iterate is returned, as the papers do.

    Args:
        model: takes (B, C, H, W) in [0, 1], returns (B, K) logits; used in the mode it is in.
        x: (B, C, H, W) float, pixels in [0, 1].
        y: (B,) int64, the label that the goal speaks of.
        noise: the branch for (data set, split); the attack goes on from there.
        ids: (B,) int64, the examples' ids, which key the random start. The goal does not, so
            that "targeted" at the true class and "hypocritical" are one and the same.

    Returns:
        (B, C, H, W) inside `config.threat`, detached. `x` and the model's parameter
        gradients are left as they were.
    """
    x_pert = start(x, config, noise.fold("pgd", 0), ids)
    climb = attack_loss(model, x, y, goal=goal, loss=loss)
    for _ in range(config.steps):
        x_pert.requires_grad_(True)
        with torch.enable_grad():
            (grad,) = torch.autograd.grad(climb(model(x_pert)).sum(), x_pert)
        x_pert = step(x_pert.detach(), grad, config.step_length, config.threat.norm)
        x_pert = project(x_pert, x, config.threat)
    return x_pert
