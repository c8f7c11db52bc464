"""FAB: smallest perturbations, by steps onto the linearised decision boundary."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from fftune.attacks.box_projection import project_to_hyperplane
from fftune.attacks.iteration import (
    BatchState,
    answer,
    in_pieces,
    value_and_gradient,
    wide,
)
from fftune.attacks.losses import AttackObjective, require_margin
from fftune.attacks.search_state import (
    ActiveBatch,
    BestSoFar,
    begin,
    label_schedule,
    run_packed,
    run_pieces,
    target_count,
)
from fftune.attacks.spec import BACKWARD_COST, AttackSpec
from fftune.capture import captured
from fftune.config import AttackConfig, Goal, Loss, Norm, ThreatModel
from fftune.devices import policy
from fftune.keyed_noise import Noise
from fftune.threat import distance, project

OVERSHOOT = 1.05
ALPHA_MAX = 0.1
"""Largest share of the step that starts from x instead of from the iterate."""
BACKWARD = 0.9
"""After a success the iterate goes back to this share of its way from x."""


def fab(
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
    """Fast Adaptive Boundary attack, targeted (Croce & Hein 2020, alg. 1).

    Arguments and guarantees as in `pgd`.

    An adversary crosses the boundaries to the `config.targets` likeliest other classes one
    after another; a false friend crosses the one boundary between its label and the strongest other
    class of the moment. The first restart begins at x, later ones at half the radius.

    Returns:
        (B, C, H, W): the nearest success inside `config.threat`, or x itself where none was
        found. Under `first_success`, the first one inside; under `last_success`, the nearest of the
        first target or restart that has one.

    Raises:
        ConfigError: the loss is not "margin", or the goal has no boundary to cross.
    """
    require_margin("fab", loss)
    config = config.handing("best_loss")
    rows = begin(model, x, y, config=config, goal=goal, loss=loss, noise=noise, ids=ids)
    targets = target_count(rows, config)

    def search(rows: ActiveBatch, found: BestSoFar) -> None:
        _approach(label_schedule(rows, targets), found, config, _starts(rows, config, targets))

    return run_packed(rows, max(1, targets) * config.restarts, config, search)


def _starts(rows: ActiveBatch, config: AttackConfig, targets: int) -> Tensor:
    if config.restarts == 1:
        return rows.x
    half = replace(config, threat=replace(config.threat, eps=config.threat.eps / 2))
    first = (rows.job < max(1, targets)).view(-1, 1, 1, 1)
    return torch.where(first, rows.x, rows.start(half, "fab"))


def _approach(rows: ActiveBatch, found: BestSoFar, config: AttackConfig, x_pert: Tensor) -> None:
    def advance(
        rows: ActiveBatch, at: tuple[Tensor, Tensor], batch: BatchState, steps: int
    ) -> tuple[tuple[Tensor, Tensor], BatchState]:
        x_pert, reached = at
        return _steps(
            rows.net,
            rows.x,
            rows.aim,
            x_pert,
            reached,
            batch,
            threat=config.threat,
            steps=steps,
            stop=found.stop,
            lenient=rows.lenient,
        )

    nowhere = torch.zeros(len(rows), dtype=torch.bool, device=rows.x.device)
    pieces = [0, *in_pieces(config.steps, policy(rows.x.device.type).chunk)]
    run_pieces(rows, found, (x_pert, nowhere), pieces, advance)


@captured
def _steps(
    net: nn.Module,
    x: Tensor,
    aim: AttackObjective,
    x_pert: Tensor,
    reached: Tensor,
    batch: BatchState,
    *,
    threat: ThreatModel,
    steps: int,
    stop: bool,
    lenient: bool,
) -> tuple[tuple[Tensor, Tensor], BatchState]:
    """Take steps, each of which is asked about; 0: ask about the start."""
    for _ in range(max(steps, 1)):
        if steps:
            # Most are across the boundary, and their gradient is wanted where they go back to.
            x_pert = torch.where(wide(reached), x + BACKWARD * (x_pert - x), x_pert)
            at = value_and_gradient(net, aim, x_pert, lenient=lenient)
            batch = batch.counted(forwards=None, backwards=None, flat=at.flat, broken=at.broken)
            x_pert = _step(x_pert, x, at.loss, at.grad, threat.norm)
        reached, _ = answer(net, aim, x_pert)
        batch = batch.counted(forwards=None, queries=None)
        batch = offered_nearest(batch, x, x_pert, reached, threat, stop=stop)
        if not steps:  # nothing is nearer than x itself
            batch = replace(batch, searched=batch.searched & (batch.score < 0))
    return (x_pert, reached), batch


def _step(x_pert: Tensor, x: Tensor, lead: Tensor, w: Tensor, norm: Norm) -> Tensor:
    """Step onto the linearised boundary and a little beyond, drawn towards x (eq. 9).

    Args:
        lead: (R,), lead of the goal's logit; 0 on the boundary.
        w: (R, C, H, W), its gradient.
    """
    here = project_to_hyperplane(x_pert, w, -lead, norm)
    way = (w * (x_pert - x)).flatten(1).sum(1)
    there = project_to_hyperplane(x, w, way - lead, norm)
    near, far = distance(x_pert + here, x_pert, norm), distance(x + there, x, norm)
    alpha = (near / (near + far).clamp_min(1e-30)).clamp_max(ALPHA_MAX).view(-1, 1, 1, 1)
    ahead = (1 - alpha) * (x_pert + OVERSHOOT * here) + alpha * (x + OVERSHOOT * there)
    return ahead.clamp(0, 1)


def offered_nearest(
    batch: BatchState,
    x: Tensor,
    x_pert: Tensor,
    reached: Tensor,
    threat: ThreatModel,
    *,
    stop: bool,
) -> BatchState:
    """Offer those successes that lie inside the ball; the nearest of them is the best."""
    away = distance(x_pert, x, threat.norm)
    inside = reached & (away <= threat.eps)
    score = torch.where(inside, -away, -torch.inf)
    return batch.offered(project(x_pert, x, threat), inside, score, stop=stop)


def _cost(config: AttackConfig) -> float:
    return config.steps * max(config.targets, 1) * (2 + 2 * BACKWARD_COST)


FAB = AttackSpec(
    run=fab,
    losses=("margin",),
    restarts=True,
    reads=("steps", "targets"),
    protocols=("best_loss", "first_success", "last_success"),
    minimal=True,
    cost=_cost,
    revision=1,
)
