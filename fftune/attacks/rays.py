"""RayS: hard-label search for the direction of signs with the nearest decision boundary."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils._pytree import register_dataclass

from fftune.attacks.fab import offered_nearest
from fftune.attacks.goals import is_toward
from fftune.attacks.iteration import BatchState, answer, wide
from fftune.attacks.losses import AttackObjective, require_margin
from fftune.attacks.search_state import (
    ActiveBatch,
    BestSoFar,
    begin,
    filled,
    run_packed,
    run_pieces,
)
from fftune.attacks.spec import AttackSpec
from fftune.capture import captured
from fftune.config import AttackConfig, Goal, Loss
from fftune.devices import policy
from fftune.errors import ConfigError
from fftune.keyed_noise import Noise

TOLERANCE = 1e-3
"""Width at which the binary search for a radius ends."""


def rays(
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
    """RayS (Chen & Gu 2020, alg. 3), hard labels only, for linf.

    Arguments and guarantees as in `pgd`.

    From the direction (1, ..., 1), blocks of signs are flipped, halves first, then quarters and
    so on; a flip is kept when it reaches the goal at a smaller radius. An example stops as soon
    as that radius is at most eps, as in the authors' code.

    The search begins at radius 1, where an adversary's directions all lead to another class. A
    false friend has one label to reach, which such a ruined image seldom has: where neither the
    first direction nor its opposite reaches it, the radius is eps from then on.

    Args:
        config: `steps` counts queries.

    Returns:
        (B, C, H, W): a success inside `config.threat`, or x itself where none was found.

    Raises:
        ConfigError: the norm is not linf, the loss not "margin", or the goal has no boundary.
    """
    require_margin("rays", loss)
    config = config.handing("best_loss")
    if config.threat.norm != "linf":
        raise ConfigError(f"norm of 'rays' must be 'linf', got {config.threat.norm!r}")
    rows = begin(model, x, y, config=config, goal=goal, loss=loss, noise=noise, ids=ids)

    def search(rows: ActiveBatch, found: BestSoFar) -> None:
        found.stop = False  # examples out of queries leave as well
        _flip_blocks(rows, found, config)

    return run_packed(rows, 1, config, search)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ray:
    """Direction of each row, and the least radius at which it is known to reach the goal."""

    signs: Tensor
    """(R, C, H, W)."""
    radius: Tensor
    """(R,); 1 before the goal was reached."""
    asked: Tensor
    """(R,) int64, queries spent."""


register_dataclass(_Ray)


def _flip_blocks(rows: ActiveBatch, found: BestSoFar, config: AttackConfig) -> None:
    def advance(
        rows: ActiveBatch, ray: _Ray, batch: BatchState, piece: tuple[int, slice | None]
    ) -> tuple[_Ray, BatchState]:
        turn, flips = piece
        batch = batch.counted(forwards=None, queries=None)
        if flips is None:
            better = _reached(rows.net, rows.aim, rows.x, ray.signs, torch.zeros_like(ray.radius))
            ray = replace(ray, radius=ray.radius.masked_fill(better, 0), asked=ray.asked + 1)
        else:
            better, ray = _flipped(rows, ray, flips, batch.searched)
        if turn == 2 and is_toward(rows.aim.goal):
            ray = replace(ray, radius=torch.where(ray.radius == 1, config.threat.eps, ray.radius))
        return ray, _offered(rows.x, ray, better, batch, config)

    if not len(rows):
        return
    ray = _Ray(
        signs=torch.ones_like(rows.x),
        radius=rows.x.new_ones(len(rows)),
        asked=torch.zeros_like(rows.job),
    )
    turns = enumerate(itertools.chain([None], _blocks(rows.x[0].numel())))
    run_pieces(rows, found, ray, turns, advance)


def _blocks(size: int) -> Iterator[slice]:
    """Yield an empty slice; then halves, quarters, ... of `size` pixels; single ones for ever."""
    yield slice(0)
    for level in itertools.count():
        width = max(math.ceil(size / 2**level), 1)
        yield from (slice(at, at + width) for at in range(0, size, width))


@captured
def _offered(
    x: Tensor, ray: _Ray, better: Tensor, batch: BatchState, config: AttackConfig
) -> BatchState:
    """Offer the points of those rays that were just found shorter; who is done leaves."""
    eps = config.threat.eps
    at = _along(x, ray.signs, ray.radius)
    batch = offered_nearest(batch, x, at, better, config.threat, stop=False)
    going = ~(better & (ray.radius <= eps)) & (ray.asked < config.steps)
    return replace(batch, searched=batch.searched & going)


def _flipped(rows: ActiveBatch, ray: _Ray, flips: slice, searched: Tensor) -> tuple[Tensor, _Ray]:
    """Flip a block of signs where that reaches the goal at the radius, and bisect the new one.

    Returns:
        (R,) bool, reached, and the rays; a row's radius is the old one where not reached.
    """
    ends = torch.tensor([flips.start or 0, flips.stop], device=rows.x.device)
    signs = _with_block_flipped(ray.signs, ends)
    better = _reached(rows.net, rows.aim, rows.x, signs, ray.radius)
    low, high, asked = torch.zeros_like(ray.radius), ray.radius.clone(), ray.asked + 1
    better = better & searched
    device, at = policy(rows.x.device.type), better.nonzero().flatten()
    # Each row's search ends by itself: its neighbours may have wider ones.
    while len(at := at[(high - low)[at] > TOLERANCE]):
        count, padded = len(at), filled(at, device.bucket(len(at)))
        part = rows.select(padded)
        found = _halved(
            part.net, part.aim, part.x, signs[padded], low[padded], high[padded], device.chunk
        )
        low[at], high[at], spent = (values[:count] for values in found)
        asked[at] += spent
        rows.select(at).count_queries(spent)
    return better, _Ray(signs=torch.where(wide(better), signs, ray.signs), radius=high, asked=asked)


@captured
def _reached(
    net: nn.Module, aim: AttackObjective, x: Tensor, signs: Tensor, radius: Tensor
) -> Tensor:
    return answer(net, aim, _along(x, signs, radius))[0]


@captured
def _halved(
    net: nn.Module,
    aim: AttackObjective,
    x: Tensor,
    signs: Tensor,
    low: Tensor,
    high: Tensor,
    rounds: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Halve the interval of radii, a few times; one that is narrow enough stays as it is.

    Returns:
        Both ends, and (R,) int64, the queries that each row spent.
    """
    spent = torch.zeros_like(aim.y)
    for _ in range(rounds):
        open_, middle = high - low > TOLERANCE, (low + high) / 2
        reached, _ = answer(net, aim, _along(x, signs, middle))
        low = torch.where(open_ & ~reached, middle, low)
        high = torch.where(open_ & reached, middle, high)
        spent = spent + open_
    return low, high, spent


@captured
def _with_block_flipped(signs: Tensor, ends: Tensor) -> Tensor:
    place = torch.arange(signs[0].numel(), device=signs.device).view(signs.shape[1:])
    return torch.where((place >= ends[0]) & (place < ends[1]), -signs, signs)


def _along(x: Tensor, signs: Tensor, radius: Tensor) -> Tensor:
    return (x + radius.view(-1, 1, 1, 1) * signs).clamp(0, 1)


RAYS = AttackSpec(
    run=rays,
    losses=("margin",),
    norms=("linf",),
    reads=("steps",),
    protocols=("best_loss", "first_success"),
    minimal=True,
    gradient_free=True,
    cost=lambda config: config.steps,
)
