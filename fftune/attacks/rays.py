"""RayS: hard-label search for the direction of signs with the nearest decision boundary."""

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from fftune.attacks.fab import offer_nearest
from fftune.attacks.goals import is_toward
from fftune.attacks.losses import require_margin
from fftune.attacks.search_state import ActiveBatch, BestSoFar, begin, run_packed
from fftune.attacks.spec import AttackSpec
from fftune.config import AttackConfig, Goal, Loss
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
    as that radius is at most eps, as in the authors' code, under either protocol.

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
    if config.threat.norm != "linf":
        raise ConfigError(f"norm of 'rays' must be 'linf', got {config.threat.norm!r}")
    rows = begin(model, x, y, config=config, goal=goal, loss=loss, noise=noise, ids=ids)

    def search(rows: ActiveBatch, found: BestSoFar) -> None:
        found.stop = False  # narrowed here: examples out of queries leave as well
        _flip_blocks(rows, found, config)

    return run_packed(rows, 1, config, search)


def _flip_blocks(rows: ActiveBatch, found: BestSoFar, config: AttackConfig) -> None:
    if not len(rows):
        return
    signs, eps = torch.ones_like(rows.x), config.threat.eps
    better, _ = rows.ask(rows.x)
    radius = signs.new_ones(len(rows)).masked_fill(better, 0)
    asked = torch.ones_like(rows.job)
    for turn, flips in enumerate(_blocks(rows.x[0].numel())):
        if turn == 2 and is_toward(rows.aim.goal):
            radius = torch.where(radius == 1, eps, radius)
        offer_nearest(found, rows, _along(rows.x, signs, radius), better, config.threat)
        going = ~(better & (radius <= eps)) & (asked < config.steps)
        found.keep(going)
        rows, signs, radius, asked = rows.select(going), signs[going], radius[going], asked[going]
        if not len(rows):
            return
        ahead = signs.clone()
        ahead.flatten(1)[:, flips] *= -1
        better, radius, cost = _radius(rows, ahead, radius)
        signs = torch.where(better.view(-1, 1, 1, 1), ahead, signs)
        asked = asked + cost


def _blocks(size: int) -> Iterator[slice]:
    """Yield an empty slice; then halves, quarters, ... of `size` pixels; single ones for ever."""
    yield slice(0)
    for level in itertools.count():
        width = max(math.ceil(size / 2**level), 1)
        yield from (slice(at, at + width) for at in range(0, size, width))


def _radius(rows: ActiveBatch, signs: Tensor, radius: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Test whether the goal is reached along `signs` at `radius`; bisect for the smallest radius.

    Returns:
        (R,) bool, reached; (R,) the radius, the old one where not reached; (R,) queries spent.
    """
    better, _ = rows.ask(_along(rows.x, signs, radius))
    cost, low, high = torch.ones_like(rows.job), torch.zeros_like(radius), radius.clone()
    at = better.nonzero().flatten()
    # Each row's search ends by itself: its neighbours may have wider ones.
    while len(at := at[(high - low)[at] > TOLERANCE]):
        part, middle = rows.select(at), ((low + high) / 2)[at]
        reached, _ = part.ask(_along(part.x, signs[at], middle))
        low[at] = torch.where(reached, low[at], middle)
        high[at] = torch.where(reached, middle, high[at])
        cost[at] += 1
    return better, high, cost


def _along(x: Tensor, signs: Tensor, radius: Tensor) -> Tensor:
    return (x + radius.view(-1, 1, 1, 1) * signs).clamp(0, 1)


RAYS = AttackSpec(
    run=rays,
    losses=("margin",),
    norms=("linf",),
    strong=True,
    minimal=True,
    gradient_free=True,
    cost=lambda config: config.steps,
)
