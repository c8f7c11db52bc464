"""Auto-PGD: gradient ascent with momentum that halves its step where the loss stops rising."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils._pytree import register_dataclass

from fftune.attacks.iteration import BatchState, value_and_gradient, wide
from fftune.attacks.losses import AttackObjective
from fftune.attacks.search_state import (
    ActiveBatch,
    BestSoFar,
    begin,
    label_schedule,
    run_packed,
    run_pieces,
    target_count,
)
from fftune.attacks.spec import BACKWARD_COST, EVERY_LOSS, AttackSpec
from fftune.capture import captured
from fftune.config import AttackConfig, Goal, Loss, ThreatModel
from fftune.devices import policy
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
    (APGD-T), until one succeeds. Hands over the best iterate, which is a success wherever one was
    met, unless `config.protocol` says otherwise.
    """
    config = config.handing("best_loss")
    rows = begin(model, x, y, config=config, goal=goal, loss=loss, noise=noise, ids=ids)
    targets = target_count(rows, config)

    def search(rows: ActiveBatch, found: BestSoFar) -> None:
        _climb(label_schedule(rows, targets), found, config)

    jobs = max(1, targets) * config.restarts
    return run_packed(rows, jobs, config, search, nearest=False)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Steps between two looks at what is decided."""

    done: int
    """Steps before."""
    steps: int
    """0: the point where the search starts."""
    waited: int = 0
    """Steps since the last check, where one is due before these; else 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
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

    @classmethod
    def begin(cls, x: Tensor, length: float) -> "_Climb":
        """The ascent from x, before any answer of the net."""
        loss = torch.full_like(x[:, 0, 0, 0], -torch.inf)
        zeros = torch.zeros_like(x)
        return cls(
            x=x,
            before=x,
            grad=zeros,
            loss=loss,
            x_best=x,
            grad_best=zeros,
            loss_best=loss,
            length=torch.full_like(loss, length),
            rises=torch.zeros_like(loss, dtype=torch.int32),
            halved=torch.ones_like(loss, dtype=torch.bool),
            loss_checked=loss,
        )

    def started(self, loss: Tensor, grad: Tensor) -> "_Climb":
        """Record the net's answer at the start."""
        known = {"loss": loss, "loss_best": loss, "loss_checked": loss}
        return replace(self, grad=grad, grad_best=grad, **known)

    def moved(self, x: Tensor, loss: Tensor, grad: Tensor) -> "_Climb":
        """Record a step."""
        better = loss > self.loss_best
        return replace(
            self,
            before=self.x,
            x=x,
            loss=loss,
            grad=grad,
            rises=self.rises + (loss > self.loss).int(),
            x_best=torch.where(wide(better), x, self.x_best),
            grad_best=torch.where(wide(better), grad, self.grad_best),
            loss_best=torch.where(better, loss, self.loss_best),
        )

    def checked(self, steps: int) -> "_Climb":
        """Halve a row's step and go back to its best point, where the last `steps` brought little.

        That is where too few of them raised the loss, or where the best loss is still that of
        the last check and the step was not halved there.
        """
        idle = ~self.halved & (self.loss_checked >= self.loss_best)
        halved = (self.rises <= RHO * steps) | idle
        return replace(
            self,
            halved=halved,
            length=torch.where(halved, self.length / 2, self.length),
            x=torch.where(wide(halved), self.x_best, self.x),
            grad=torch.where(wide(halved), self.grad_best, self.grad),
            loss_checked=self.loss_best,
            rises=torch.zeros_like(self.rises),
        )

    def ahead(self, x: Tensor, threat: ThreatModel, *, momentum: bool) -> Tensor:
        """The next point: a step along the gradient, and a share of the last one."""
        ahead = project(step(self.x, self.grad, wide(self.length), threat.norm), x, threat)
        if not momentum:
            return ahead
        drift = MOMENTUM * (ahead - self.x) + (1 - MOMENTUM) * (self.x - self.before)
        return project(self.x + drift, x, threat)


register_dataclass(_Climb)


def _climb(rows: ActiveBatch, found: BestSoFar, config: AttackConfig) -> None:
    def advance(
        rows: ActiveBatch, climb: _Climb, batch: BatchState, piece: _Piece
    ) -> tuple[_Climb, BatchState]:
        climb = climb.checked(piece.waited) if piece.waited else climb
        return _steps(
            rows.net,
            rows.x,
            rows.aim,
            climb,
            batch,
            threat=config.threat,
            index=min(piece.done, 1),
            count=piece.steps,
            stop=found.stop,
            last=config.protocol == "last_success",
            lenient=rows.lenient,
        )

    climb = _Climb.begin(rows.start(config, "apgd"), 2 * config.threat.eps)
    pieces = _pieces(config.steps, policy(rows.x.device.type).chunk)
    run_pieces(rows, found, climb, pieces, advance)


def _pieces(steps: int, chunk: int) -> Iterator[_Piece]:
    """The start, the first step, and the others between their checks, at most `chunk` at once."""
    yield _Piece(0, 0)
    wait, begin, waited = max(int(FIRST_CHECK * steps), 1), 0, 0
    while begin < steps:
        end = min(begin + wait, steps)
        while begin < end:
            count = chunk if begin and begin + chunk <= end else 1
            yield _Piece(begin, count, waited)
            begin, waited = begin + count, 0
        waited = wait
        wait = max(wait - max(int(SHORTER * steps), 1), int(SHORTEST * steps), 1)


@captured
def _steps(
    net: nn.Module,
    x: Tensor,
    aim: AttackObjective,
    climb: _Climb,
    batch: BatchState,
    *,
    threat: ThreatModel,
    index: int,
    count: int,
    stop: bool,
    last: bool,
    lenient: bool,
) -> tuple[_Climb, BatchState]:
    for i in range(index, index + max(count, 1)):
        ahead = climb.ahead(x, threat, momentum=i > 0) if count else climb.x
        at = value_and_gradient(net, aim, ahead, lenient=lenient)
        climb = climb.moved(ahead, at.loss, at.grad) if count else climb.started(at.loss, at.grad)
        batch = batch.counted(forwards=None, backwards=None, flat=at.flat, broken=at.broken)
        batch = batch.offered(ahead, at.won, at.loss, stop=stop, last=last)
    return climb, batch


def _cost(config: AttackConfig) -> float:
    return config.steps * max(config.targets, 1) * (1 + BACKWARD_COST)


APGD = AttackSpec(
    run=apgd,
    losses=EVERY_LOSS,
    restarts=True,
    reads=("steps", "start", "targets"),
    protocols=("best_loss", "first_success", "last_success"),
    keeps_last=True,
    cost=_cost,
    revision=1,
)
