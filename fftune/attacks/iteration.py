"""One iteration of a search as functions of tensors, which a device can record and replay.

A search repeats them on a batch of rows. Nothing here looks at a value: what is decided is marked,
and leaves when `search_state.run_pieces` looks.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import register_dataclass, tree_map

from fftune.attacks.losses import AttackObjective
from fftune.attacks.query_counter import KINDS, LARGE, answers, gradient_faults
from fftune.errors import ModelError

State = TypeVar("State")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchState:
    """Best point of each row of a batch, whether its search goes on, and what it has cost."""

    x: Tensor
    """(R, C, H, W)."""
    score: Tensor
    """(R,), of those points; -inf before the first."""
    won: Tensor
    """(R,) bool."""
    searched: Tensor
    """(R,) bool, False where the search is over: what such a row still does counts for nothing."""
    counts: Tensor
    """(R, 5) int64, of `query_counter.KINDS`."""

    @classmethod
    def begin(cls, x: Tensor) -> "BatchState":
        """Nothing found yet: x itself, with a score below every other."""
        score = torch.full_like(x[:, 0, 0, 0], -torch.inf)
        won = torch.zeros_like(score, dtype=torch.bool)
        counts = torch.zeros(len(x), len(KINDS), dtype=torch.int64, device=x.device)
        return cls(x=x, score=score, won=won, searched=~won, counts=counts)

    def offered(
        self, x_pert: Tensor, won: Tensor, score: Tensor, *, stop: bool, last: bool = False
    ) -> "BatchState":
        """Keep offered points that are better: a success before a failure, then the larger score.

        Args:
            stop: a row's first success ends its search.
            last: a later success is the better one, and no failure is kept.
        """
        reached = won & self.searched
        larger = torch.where(won == self.won, score > self.score, won) & self.searched
        better = reached if last else larger
        return replace(
            self,
            x=torch.where(wide(better), x_pert, self.x),
            score=torch.where(better, score, self.score),
            won=self.won | reached,
            searched=self.searched & ~reached if stop else self.searched,
        )

    def counted(self, **kinds: Tensor | None) -> "BatchState":
        """Count a pass of each row that is searched; of those marked, where a tensor marks some."""
        found = [
            torch.zeros_like(self.searched)
            if kind not in kinds
            else self.searched
            if kinds[kind] is None
            else self.searched & kinds[kind]  # type: ignore[operator]
            for kind in KINDS
        ]
        return replace(self, counts=self.counts + torch.stack(found, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradient:
    """A net's answer at a point, with the gradient that a search climbs there."""

    won: Tensor
    """(R,) bool, goal reached."""
    loss: Tensor
    """(R,)."""
    grad: Tensor
    """(R, C, H, W), finite."""
    flat: Tensor
    """(R,) bool, the gradient gives no direction."""
    broken: Tensor
    """(R,) bool, a pixel of it was not finite."""

    @classmethod
    def of(cls, won: Tensor, loss: Tensor, raw: Tensor) -> "Gradient":
        """Count the faults of a gradient and mend them: nan is 0, an infinity is `LARGE`."""
        flat, broken = gradient_faults(raw)
        grad = raw.nan_to_num(0.0, LARGE, -LARGE)
        return cls(won=won, loss=loss, grad=grad, flat=flat, broken=broken)


for _structure in (AttackObjective, BatchState, Gradient):
    register_dataclass(_structure)


def value_and_gradient(
    net: nn.Module, aim: AttackObjective, x_pert: Tensor, step: int = 0, *, lenient: bool
) -> Gradient:
    """Success, loss and gradient at (R, C, H, W) points.

    Of a net that answers with several draws: success in most of them, and mean losses.

    Args:
        step: index of the step, for objectives that change; see `AttackObjective.at`.
        lenient: take the gradient of a net that has none for zero, which is counted.

    Raises:
        ModelError: the net has no input gradients.
    """
    leaf = x_pert.detach().requires_grad_(True)
    with torch.enable_grad():
        drawn = [_with_gradient(z, leaf, lenient=lenient) for z in answers(net, leaf)]
        loss = _mean(aim(logits) for logits in drawn)
        climbed = loss if aim.turns is None else _mean(map(aim.at(step), drawn))
        raw = slope(climbed.sum(), leaf)
    return Gradient.of(_in_most(aim, drawn), loss.detach(), raw)


def connected(net: nn.Module, leaf: Tensor, *, lenient: bool) -> Tensor:
    """(R, K) logits; if `lenient`, those of a net without gradients get a zero one."""
    return _with_gradient(net(leaf), leaf, lenient=lenient)


def _with_gradient(logits: Tensor, leaf: Tensor, *, lenient: bool) -> Tensor:
    if lenient and not logits.requires_grad:
        return logits + 0 * leaf.flatten(1).sum(1, keepdim=True)
    return logits


def answer(net: nn.Module, aim: AttackObjective, x_pert: Tensor) -> tuple[Tensor, Tensor]:
    """(R,) bool, goal reached, and (R,) loss at a point; takes no gradient."""
    with torch.no_grad():
        drawn = answers(net, x_pert)
        return _in_most(aim, drawn), _mean(map(aim, drawn))


def _mean(losses: Iterable[Tensor]) -> Tensor:
    """(R,) mean over draws; of a single one, its own bits."""
    each = list(losses)
    return each[0] if len(each) == 1 else torch.stack(each).mean(0)


def _in_most(aim: AttackObjective, drawn: list[Tensor]) -> Tensor:
    """(R,) bool, goal reached in more than half of the draws."""
    reached = [aim.is_success(logits.detach()) for logits in drawn]
    return reached[0] if len(reached) == 1 else torch.stack(reached).float().mean(0) > 0.5


def slope(value: Tensor, x: Tensor, *, keep: bool = False) -> Tensor:
    """Gradient of a value at x.

    Args:
        keep: keep autograd's graph, for other values.

    Raises:
        ModelError: the value does not depend on x by differentiable operations.
    """
    grad = None
    if value.requires_grad:
        (grad,) = torch.autograd.grad(value, x, allow_unused=True, retain_graph=keep)
    if grad is None:
        raise ModelError("net has no input gradients that a search could follow")
    return grad


def some_rows(state: State, rows: Tensor) -> State:
    """The state of some rows: of every tensor, whose first dimension counts rows, those."""
    part: State = tree_map(lambda v: v[rows] if isinstance(v, Tensor) else v, state)
    return part


def in_pieces(steps: int, largest: int) -> list[int]:
    """Numbers of steps between two looks: as many of the largest as fit, then single ones."""
    return [largest] * (steps // largest) + [1] * (steps % largest)


def wide(values: Tensor) -> Tensor:
    """Reshape (R,) to (R, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)
