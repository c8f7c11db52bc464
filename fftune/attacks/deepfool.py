"""DeepFool: steps to the nearest linearised decision boundary until it is crossed."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from fftune.attacks.box_projection import project_to_hyperplane
from fftune.attacks.fab import offered_nearest
from fftune.attacks.goals import is_toward
from fftune.attacks.iteration import (
    BatchState,
    Gradient,
    answer,
    connected,
    in_pieces,
    slope,
    value_and_gradient,
    wide,
)
from fftune.attacks.losses import AttackObjective, require_margin
from fftune.attacks.search_state import ActiveBatch, BestSoFar, begin, run_packed, run_pieces
from fftune.attacks.spec import BACKWARD_COST, AttackSpec
from fftune.capture import captured
from fftune.config import AttackConfig, Goal, Loss, Norm, ThreatModel
from fftune.devices import policy
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
    config = config.handing("best_loss")
    rows = begin(model, x, y, config=config, goal=goal, loss=loss, noise=noise, ids=ids)

    def search(rows: ActiveBatch, found: BestSoFar) -> None:
        found.stop = False  # what has crossed outside the ball leaves as well
        pieces = [0, *in_pieces(config.steps, policy(x.device.type).chunk)]
        run_pieces(rows, found, rows.x, pieces, advance)

    def advance(
        rows: ActiveBatch, x_pert: Tensor, batch: BatchState, steps: int
    ) -> tuple[Tensor, BatchState]:
        return _steps(
            rows.net,
            rows.x,
            rows.aim,
            x_pert,
            batch,
            threat=config.threat,
            targets=config.targets,
            steps=steps,
            lenient=rows.lenient,
        )

    return run_packed(rows, 1, config, search)


@captured
def _steps(
    net: nn.Module,
    x: Tensor,
    aim: AttackObjective,
    x_pert: Tensor,
    batch: BatchState,
    *,
    threat: ThreatModel,
    targets: int,
    steps: int,
    lenient: bool,
) -> tuple[Tensor, BatchState]:
    """Take steps, each of which is asked about; 0: ask about the start."""
    for _ in range(max(steps, 1)):
        if steps:
            exits = _boundaries(net, aim, x_pert, targets, lenient=lenient)
            batch = batch.counted(forwards=None)
            for at in exits:
                batch = batch.counted(backwards=None, flat=at.flat, broken=at.broken)
            ahead = x_pert + (1 + OVERSHOOT) * _nearest(x_pert, exits, threat.norm)
            x_pert = torch.where(wide(batch.searched), ahead.clamp(0, 1), x_pert)
        reached, _ = answer(net, aim, x_pert)
        batch = batch.counted(forwards=None, queries=None)
        batch = offered_nearest(batch, x, x_pert, reached, threat, stop=False)
        # Crossed, inside the ball or outside.
        batch = replace(batch, searched=batch.searched & ~reached)
    return x_pert, batch


def _boundaries(
    net: nn.Module, aim: AttackObjective, x_pert: Tensor, targets: int, *, lenient: bool
) -> list[Gradient]:
    """The goal's lead at each boundary, as the loss, and the lead's gradient."""
    if is_toward(aim.goal):
        return [value_and_gradient(net, aim, x_pert, lenient=lenient)]
    leaf = x_pert.detach().requires_grad_(True)
    with torch.enable_grad():
        logits = connected(net, leaf, lenient=lenient)
        label = aim.label[:, None]
        count = min(targets or logits.shape[1], logits.shape[1] - 1)
        rivals = logits.detach().scatter(1, label, -torch.inf).topk(count, dim=1).indices
        leads = (logits.gather(1, rivals) - logits.gather(1, label)).unbind(1)
        grads = [slope(lead.sum(), leaf, keep=True) for lead in leads]
    won = aim.is_success(logits.detach())
    return [Gradient.of(won, lead.detach(), w) for lead, w in zip(leads, grads, strict=True)]


def _nearest(x: Tensor, exits: list[Gradient], norm: Norm) -> Tensor:
    """(R, C, H, W), the shortest of the steps onto the boundaries."""
    steps = torch.stack([project_to_hyperplane(x, at.grad, -at.loss, norm) for at in exits])
    lengths = torch.stack([distance(x + step, x, norm) for step in steps])
    # A flat boundary is no exit: its step has length 0.
    flat = torch.stack([(at.grad == 0).flatten(1).all(1) for at in exits])
    choice = lengths.masked_fill(flat, torch.inf).argmin(0)
    return steps[choice, torch.arange(len(x), device=x.device)]


def _cost(config: AttackConfig) -> float:
    """A tenth of the longest search, as most examples cross their boundary in a few steps."""
    return config.steps * (1 + BACKWARD_COST * (max(config.targets, 1) + 1)) / 10


DEEPFOOL = AttackSpec(
    run=deepfool,
    losses=("margin",),
    reads=("steps", "targets"),
    protocols=("best_loss", "first_success"),
    minimal=True,
    cost=_cost,
)
