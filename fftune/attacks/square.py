"""Square: random search over squares of pixels, guided by the loss alone, without gradients."""

import bisect
import functools
import math

import torch
from torch import Tensor, nn

from fftune.attacks.search_state import ActiveBatch, BestSoFar, begin, run_packed
from fftune.attacks.spec import AttackSpec
from fftune.config import AttackConfig, Goal, Loss
from fftune.keyed_noise import Noise
from fftune.threat import project

P_INIT = 0.8
"""Share of the pixels that the first square covers."""
HALVINGS = (10, 50, 200, 1000, 2000, 4000, 6000, 8000)
"""Numbers of queries, of 10,000, after which the share is halved."""
CHUNK = 250
"""Number of queries whose noise is drawn at once."""


def square(
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
    """Square Attack (Andriushchenko et al. 2020, alg. 1-3), for every goal.

    Arguments and guarantees as in `pgd`.

    An example stops at its first success, as in the paper, under either protocol. Each example
    draws its squares from its own stream, whatever else is in the batch.

    Args:
        config: `steps` counts queries.
    """
    rows = begin(model, x, y, config=config, goal=goal, loss=loss, noise=noise, ids=ids)

    def search(rows: ActiveBatch, found: BestSoFar) -> None:
        found.stop = True
        _random_search(rows, found, config)

    return run_packed(rows, config.restarts, config, search)


def _random_search(rows: ActiveBatch, found: BestSoFar, config: AttackConfig) -> None:
    """Propose a square, query the net, and keep the square if the loss rose."""
    l2, eps = config.threat.norm == "l2", config.threat.eps
    first = _tiles(rows) if l2 else _stripes(rows)
    ahead = x_best = project(rows.x + eps * first, rows.x, config.threat)
    best = torch.full_like(rows.x[:, 0, 0, 0], -torch.inf)
    for query in range(config.steps):
        won, value = rows.ask(ahead)
        better = value > best
        x_best, best = torch.where(_wide(better), ahead, x_best), torch.where(better, value, best)
        kept = found.offer(ahead, won, value)
        if kept is not None:
            rows, x_best, best = rows.select(kept), x_best[kept], best[kept]
        if not len(rows):
            return
        if query % CHUNK == 0:
            draws = rows.uniform((CHUNK, 5 + rows.x.shape[1]), "square", "squares", query)
        elif kept is not None:
            draws = draws[kept]
        draw, side = draws[:, query % CHUNK], _side(query / config.steps, rows.x)
        if l2:
            ahead = _shift_mass(x_best, rows.x, draw, side | 1 if side > 1 else 3, eps)
        else:
            mask, _ = _window(rows.x, draw[:, :2], side)
            ahead = torch.where(mask, rows.x + eps * _signs(draw), x_best)
        ahead = project(ahead, rows.x, config.threat)


def _side(done: float, x: Tensor) -> int:
    """Side of the square, in pixels, after this share of the queries."""
    height, width = x.shape[2:]
    share = P_INIT / 2 ** bisect.bisect_right(HALVINGS, 10_000 * done - 1)
    return min(max(round(math.sqrt(share * height * width)), 1), height, width)


def _signs(draw: Tensor) -> Tensor:
    """(R, C, 1, 1), +1 or -1 for each channel."""
    return 2 * (draw[:, 5:, None, None] < 0.5).to(draw) - 1


def _window(x: Tensor, corner: Tensor, side: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Mask of each row's square, (R, 1, H, W), and every pixel's place in it, (R, H), (R, W).

    Args:
        corner: (R, 2), uniform in [0, 1).
    """
    places = []
    for size, at in zip(x.shape[2:], corner.unbind(1), strict=True):
        begin = (at * (size - side + 1)).long().clamp_max(size - side)
        places.append(torch.arange(size, device=x.device) - begin[:, None])
    inside = [(place >= 0) & (place < side) for place in places]
    mask = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    down, along = (place.clamp(0, side - 1) for place in places)
    return mask, (down, along)


def _stripes(rows: ActiveBatch) -> Tensor:
    """(R, C, 1, W), +1 or -1 for each column and channel."""
    _, channels, _, width = rows.x.shape
    return 2 * (rows.uniform((channels, 1, width), "square", "stripes") < 0.5).to(rows.x) - 1


def _tiles(rows: ActiveBatch) -> Tensor:
    """(R, C, H, W) of length 1, about five by five bumps, each up or down."""
    _, channels, height, width = rows.x.shape
    tile = max(min(height, width) // 5, 1)
    down, along = torch.arange(height), torch.arange(width)
    bumps = _two_bumps(tile).to(rows.x)[down % tile][:, along % tile]
    shape = (channels, int(down[-1]) // tile + 1, int(along[-1]) // tile + 1)
    signs = 2 * (rows.uniform(shape, "square", "tiles") < 0.5).to(rows.x) - 1
    delta = bumps * signs[:, :, down // tile][:, :, :, along // tile]
    return delta / _norm(delta, (1, 2, 3))


def _shift_mass(x_best: Tensor, x: Tensor, draw: Tensor, side: int, eps: float) -> Tensor:
    """Move mass between squares (alg. 3): one is emptied into another, with the unspent budget.

    Each channel keeps its own budget.
    """
    side = min(side, *x.shape[2:])
    mask, (down, along) = _window(x, draw[:, :2], side)
    emptied, _ = _window(x, draw[:, 2:4], side)
    delta = x_best - x
    bumps = _two_bumps(side).to(x)
    bumps = torch.stack([bumps, bumps.T])[(draw[:, 4] < 0.5).long()]
    row = torch.arange(len(x), device=x.device)[:, None, None]
    fresh = bumps[row, down[:, :, None], along[:, None, :]][:, None] * _signs(draw) * mask
    fresh = fresh + delta * mask / _norm(delta * mask, (2, 3))
    unspent = (eps**2 - delta.square().sum((1, 2, 3), keepdim=True)).clamp_min(0) / x.shape[1]
    mass = (unspent + (delta * (mask | emptied)).square().sum((2, 3), keepdim=True)).sqrt()
    delta = torch.where(mask, fresh / _norm(fresh, (2, 3)) * mass, delta * ~emptied)
    return x + eps * delta / _norm(delta, (1, 2, 3))


@functools.cache
def _two_bumps(side: int) -> Tensor:
    """(side, side) of length 1, a bump in the upper half, its negative in the lower (sec. 3.4)."""
    if side == 1:
        return torch.ones(1, 1)
    upper = side // 2
    both = torch.cat([_bump(upper, side), -_bump(side - upper, side)])
    return both / _norm(both, (0, 1))


def _bump(height: int, width: int) -> Tensor:
    """(height, width) of length 1, the sum of centred squares of weight 1 / (radius + 1)^2."""
    down = (torch.arange(height) - height // 2).abs()[:, None]
    along = (torch.arange(width) - width // 2).abs()[None]
    reach = torch.maximum(down, along)
    radii = torch.arange(int(reach.max()) + 1)
    bump = ((reach[..., None] <= radii) / (radii + 1.0) ** 2).sum(-1)
    return bump / _norm(bump, (0, 1))


def _norm(delta: Tensor, dims: tuple[int, ...]) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(delta, dim=dims, keepdim=True)
    return norm.clamp_min(1e-12)


def _wide(values: Tensor) -> Tensor:
    """Reshape (R,) to (R, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)


SQUARE = AttackSpec(
    run=square,
    restarts=True,
    strong=True,
    gradient_free=True,
    cost=lambda config: config.steps,
)
