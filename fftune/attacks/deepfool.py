"""DeepFool: steps to the nearest linearised decision boundary until it is crossed."""

import torch
from torch import Tensor, nn

from fftune.attacks.box_projection import project_to_hyperplane
from fftune.attacks.fab import offer_nearest
from fftune.attacks.goals import is_toward
from fftune.attacks.iteration import slope
from fftune.attacks.losses import require_margin
from fftune.attacks.search_state import ActiveBatch, BestSoFar, begin, run_packed
from fftune.attacks.spec import BACKWARD_COST, AttackSpec
from fftune.config import AttackConfig, Goal, Loss, Norm
from fftune.keyed_noise import Noise
from fftune.threat import distance

OVERSHOOT = 0.02


def deepfool(
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
    """DeepFool (Moosavi-Dezfooli et al. 2016, alg. 2), for every goal with a boundary.

    An adversary takes the nearest of the boundaries to `config.targets` other classes; a false
    friend has one boundary, between its label and the strongest other class of the moment. Steps
    keep to [0, 1]. Arguments and guarantees as in `pgd`.

    Returns:
        (B, C, H, W): the crossing, or x itself where there is none inside `config.threat`.

    Raises:
        ConfigError: the loss is not "margin", or the goal has no boundary.
    """
    require_margin("deepfool", loss)
    rows = begin(model, x, y, config=config, goal=goal, loss=loss, noise=noise, ids=ids)

    def search(rows: ActiveBatch, found: BestSoFar) -> None:
        found.stop = False  # narrowed here: what has crossed outside the ball leaves as well
        x_pert = rows.x
        for i in range(config.steps + 1):
            reached, _ = rows.ask(x_pert)
            offer_nearest(found, rows, x_pert, reached, config.threat)
            found.keep(~reached)  # crossed, inside the ball or outside
            if i == config.steps or not len(found.active):
                return
            # Gradients are what costs: only those still on their way need them.
            rows, x_pert = rows.select(~reached), x_pert[~reached]
            step = _nearest(x_pert, _boundaries(rows, x_pert, config.targets), config.threat.norm)
            x_pert = (x_pert + (1 + OVERSHOOT) * step).clamp(0, 1)

    return run_packed(rows, 1, config, search)


def _boundaries(rows: ActiveBatch, x_pert: Tensor, targets: int) -> list[tuple[Tensor, Tensor]]:
    """The goal's lead at each boundary, (R,), and the lead's gradient."""
    if is_toward(rows.aim.goal):
        _, lead, w = rows.gradient(x_pert)
        return [(lead, w)]
    x_pert = x_pert.detach().requires_grad_(True)
    with torch.enable_grad():
        logits = rows.model(x_pert)
        label = rows.aim.label[:, None]
        count = min(targets or logits.shape[1], logits.shape[1] - 1)
        rivals = logits.detach().scatter(1, label, -torch.inf).topk(count, dim=1).indices
        leads = (logits.gather(1, rivals) - logits.gather(1, label)).unbind(1)
        grads = [slope(lead.sum(), x_pert, keep=True) for lead in leads]
    return [(lead.detach(), w) for lead, w in zip(leads, grads, strict=True)]


def _nearest(x: Tensor, exits: list[tuple[Tensor, Tensor]], norm: Norm) -> Tensor:
    """(R, C, H, W), the shortest of the steps onto the boundaries."""
    steps = torch.stack([project_to_hyperplane(x, w, -lead, norm) for lead, w in exits])
    lengths = torch.stack([distance(x + step, x, norm) for step in steps])
    # A flat boundary is no exit: its step has length 0.
    flat = torch.stack([(w == 0).flatten(1).all(1) for _, w in exits])
    choice = lengths.masked_fill(flat, torch.inf).argmin(0)
    return steps[choice, torch.arange(len(x), device=x.device)]


def _cost(config: AttackConfig) -> float:
    """A tenth of the longest search, as most examples cross their boundary in a few steps."""
    return config.steps * (1 + BACKWARD_COST * (max(config.targets, 1) + 1)) / 10


DEEPFOOL = AttackSpec(run=deepfool, losses=("margin",), strong=True, minimal=True, cost=_cost)
