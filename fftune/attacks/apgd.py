"""Auto-PGD: gradient ascent with momentum that halves its step where the loss stops rising."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from fftune.attacks.search_state import (
    ActiveBatch,
    BestSoFar,
    begin,
    label_schedule,
    run_packed,
    target_count,
)
from fftune.attacks.spec import BACKWARD_COST, AttackSpec
from fftune.config import AttackConfig, Goal, Loss
from fftune.keyed_noise import Noise
from fftune.threat import project, step

MOMENTUM = 0.75
RHO = 0.75
"""The step is halved where fewer than this share of the steps since the last check rose."""
FIRST_CHECK, SHORTER, SHORTEST = 0.22, 0.03, 0.06
"""Shares of all steps: until the first check; by which each wait is shorter; the least wait."""


def apgd(
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
    """Auto-PGD (Croce & Hein 2020, alg. 1), for every goal. Arguments and guarantees as in `pgd`.

    With `config.targets`, an adversary aims at the likeliest other classes one after another
    (APGD-T). Returns the best iterate, which is a success wherever one was met.
    """
    rows = begin(model, x, y, config=config, goal=goal, loss=loss, noise=noise, ids=ids)
    targets = target_count(rows, config)

    def search(rows: ActiveBatch, found: BestSoFar) -> None:
        _climb(label_schedule(rows, targets), found, config)

    return run_packed(rows, max(1, targets) * config.restarts, config, search)


@dataclass(slots=True, kw_only=True)
class _Climb:
    """State of each row's ascent; tensors of (R,) or (R, C, H, W)."""

    x: Tensor
    before: Tensor
    grad: Tensor
    loss: Tensor
    x_best: Tensor
    grad_best: Tensor
    loss_best: Tensor
    length: Tensor
    rises: Tensor
    """Steps since the last check that raised the loss."""
    halved: Tensor
    loss_checked: Tensor
    """The best loss at the last check."""

    def select(self, kept: Tensor) -> "_Climb":
        return _Climb(**{f.name: getattr(self, f.name)[kept] for f in fields(self)})

    def moved(self, x: Tensor, loss: Tensor, grad: Tensor) -> None:
        """Record a step."""
        self.rises += (loss > self.loss).int()
        self.before, self.x, self.loss, self.grad = self.x, x, loss, grad
        better = loss > self.loss_best
        self.x_best = torch.where(_wide(better), x, self.x_best)
        self.grad_best = torch.where(_wide(better), grad, self.grad_best)
        self.loss_best = torch.where(better, loss, self.loss_best)

    def check(self, steps: int) -> None:
        """Halve a row's step and go back to its best point, where the last `steps` brought little.

        That is where too few of them raised the loss, or where the best loss is still that of
        the last check and the step was not halved there.
        """
        idle = ~self.halved & (self.loss_checked >= self.loss_best)
        self.halved = (self.rises <= RHO * steps) | idle
        self.length = torch.where(self.halved, self.length / 2, self.length)
        self.x = torch.where(_wide(self.halved), self.x_best, self.x)
        self.grad = torch.where(_wide(self.halved), self.grad_best, self.grad)
        self.loss_checked = self.loss_best
        self.rises = torch.zeros_like(self.rises)


def _climb(rows: ActiveBatch, found: BestSoFar, config: AttackConfig) -> None:
    threat, steps = config.threat, config.steps
    climb, won = _at_start(rows, rows.start(config, "apgd"), 2 * threat.eps)
    wait, waited = max(int(FIRST_CHECK * steps), 1), 0
    for i in range(steps + 1):
        kept = found.offer(climb.x, won, climb.loss)
        if kept is not None:
            rows, climb = rows.select(kept), climb.select(kept)
        if i == steps or not len(rows):
            return
        if waited == wait:
            climb.check(wait)
            wait, waited = max(wait - max(int(SHORTER * steps), 1), int(SHORTEST * steps), 1), 0
        ahead = project(step(climb.x, climb.grad, _wide(climb.length), threat.norm), rows.x, threat)
        if i > 0:
            drift = MOMENTUM * (ahead - climb.x) + (1 - MOMENTUM) * (climb.x - climb.before)
            ahead = project(climb.x + drift, rows.x, threat)
        won, loss, grad = rows.gradient(ahead)
        climb.moved(ahead, loss, grad)
        waited += 1


def _at_start(rows: ActiveBatch, x_pert: Tensor, length: float) -> tuple[_Climb, Tensor]:
    won, loss, grad = rows.gradient(x_pert)
    return _Climb(
        x=x_pert,
        before=x_pert,
        grad=grad,
        loss=loss,
        x_best=x_pert,
        grad_best=grad,
        loss_best=loss,
        length=torch.full_like(loss, length),
        rises=torch.zeros_like(loss, dtype=torch.int32),
        halved=torch.ones_like(won),
        loss_checked=loss,
    ), won


def _wide(values: Tensor) -> Tensor:
    """Reshape (R,) to (R, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)


def _cost(config: AttackConfig) -> float:
    return config.steps * max(config.targets, 1) * (1 + BACKWARD_COST)


APGD = AttackSpec(run=apgd, restarts=True, strong=True, keeps_last=True, cost=_cost)
