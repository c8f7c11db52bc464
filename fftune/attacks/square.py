"""Square: random search over squares of pixels, guided by the loss alone, without gradients."""

import bisect
import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fftune.attacks.iteration import BatchState, answer, wide
from fftune.attacks.losses import AttackObjective
from fftune.attacks.search_state import ActiveBatch, BestSoFar, begin, run_packed, run_pieces
from fftune.attacks.spec import AttackSpec
from fftune.capture import captured
from fftune.config import AttackConfig, Goal, Loss, ThreatModel
from fftune.devices import policy
from fftune.keyed_noise import Noise
from fftune.threat import project

P_INIT = 0.8
"""Share of the pixels that the first square covers."""
HALVINGS = (10, 50, 200, 1000, 2000, 4000, 6000, 8000)
"""Numbers of queries, of 10,000, after which the share is halved."""
CHUNK = 250
"""Number of queries whose noise is drawn at once."""
QUERIES = 5
"""Queries in place of one gradient step, where a device takes several between two looks."""


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

    An example stops at its first success, as in the paper; one that has none hands over its best
    point, or under `last_success` x itself. Each example draws its squares from its own stream,
    whatever else is in the batch.

    Args:
        config: `steps` counts queries.
    """
    config = config.handing("best_loss")
    rows = begin(model, x, y, config=config, goal=goal, loss=loss, noise=noise, ids=ids)

    def search(rows: ActiveBatch, found: BestSoFar) -> None:
        found.stop = config.protocol != "last_success"  # whose earlier restarts go on
        _random_search(rows, found, config)

    return run_packed(rows, config.restarts, config, search)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Queries between two looks at what is decided."""

    first: int
    """Index of the first query; 0: the start is asked about, and nothing proposed."""
    count: int
    side: int
    """Side of the squares, in pixels, where it is the same for all of them."""


def _random_search(rows: ActiveBatch, found: BestSoFar, config: AttackConfig) -> None:
    """Propose a square, query the net, and keep the square if the loss rose."""
    l2, eps = config.threat.norm == "l2", config.threat.eps
    sides = [_side(query / config.steps, rows.x) for query in range(config.steps)]
    at_each = torch.tensor(sides, device=rows.x.device)

    def advance(
        rows: ActiveBatch, state: tuple[Tensor, Tensor, Tensor], batch: BatchState, piece: _Piece
    ) -> tuple[tuple[Tensor, Tensor, Tensor], BatchState]:
        x_best, best, draws = state
        before = piece.first - 1  # a square is drawn where the query before it has ended
        if before % CHUNK == 0:
            draws = rows.uniform((CHUNK, 5 + rows.x.shape[1]), "square", "squares", before)
        at = slice(before % CHUNK, before % CHUNK + piece.count)
        x_best, best, batch = _queries(
            rows.net,
            rows.x,
            rows.aim,
            x_best,
            best,
            draws[:, at] if piece.first else draws[:, :0],
            at_each[before : before + piece.count] if piece.first and not l2 else at_each[:0],
            _bumps(piece.side, rows.x) if piece.first and l2 else None,
            batch,
            threat=config.threat,
            last=config.protocol == "last_success",
        )
        return (x_best, best, draws), batch

    first = _tiles(rows) if l2 else _stripes(rows)
    x_start = project(rows.x + eps * first, rows.x, config.threat)
    best = torch.full_like(rows.x[:, 0, 0, 0], -torch.inf)
    chunk = policy(rows.x.device.type).chunk
    pieces = _pieces(sides, 1 if chunk == 1 else QUERIES * chunk, alike=l2)
    run_pieces(rows, found, (x_start, best, rows.x.new_empty(len(rows), 1, 0)), pieces, advance)


def _pieces(sides: list[int], largest: int, *, alike: bool) -> Iterator[_Piece]:
    """The start, then as many queries as draws last and, if `alike`, squares stay of one size."""
    if sides:
        yield _Piece(0, 1, 0)
    first = 1
    while first < len(sides):
        before = first - 1
        last = min(before + largest, len(sides) - 1)
        whole = last - before == largest and before // CHUNK == (last - 1) // CHUNK
        same = not alike or sides[before] == sides[last - 1]
        count = largest if whole and same else 1
        yield _Piece(first, count, sides[before])
        first += count


@captured
def _queries(
    net: nn.Module,
    x: Tensor,
    aim: AttackObjective,
    x_best: Tensor,
    best: Tensor,
    draws: Tensor,
    sides: Tensor,
    bumps: Tensor | None,
    batch: BatchState,
    *,
    threat: ThreatModel,
    last: bool,
) -> tuple[Tensor, Tensor, BatchState]:
    """Propose a square for each draw and ask about it; without draws, ask about `x_best`.

    Args:
        draws: (R, queries, 5 + C), uniform in [0, 1).
        sides: (queries,) int64, for linf.
        bumps: what the squares hold, for l2; see `_bumps`.
    """
    for query in range(max(draws.shape[1], 1)):
        ahead = x_best
        if draws.shape[1]:
            draw = draws[:, query]
            if bumps is not None:
                ahead = _shift_mass(x_best, x, draw, bumps, threat.eps)
            else:
                mask, _ = _window(x, draw[:, :2], sides[query])
                ahead = torch.where(mask, x + threat.eps * _signs(draw), x_best)
            ahead = project(ahead, x, threat)
        won, value = answer(net, aim, ahead)
        batch = batch.counted(forwards=None, queries=None)
        batch = batch.offered(ahead, won, value, stop=True, last=last)
        better = value > best
        x_best = torch.where(wide(better), ahead, x_best)
        best = torch.where(better, value, best)
    return x_best, best, batch


def _side(done: float, x: Tensor) -> int:
    """Side of the square, in pixels, after this share of the queries."""
    height, width = x.shape[2:]
    share = P_INIT / 2 ** bisect.bisect_right(HALVINGS, 10_000 * done - 1)
    return min(max(round(math.sqrt(share * height * width)), 1), height, width)


def _signs(draw: Tensor) -> Tensor:
    """(R, C, 1, 1), +1 or -1 for each channel."""
    return 2 * (draw[:, 5:, None, None] < 0.5).to(draw) - 1


def _window(x: Tensor, corner: Tensor, side: int | Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Mask of each row's square, (R, 1, H, W), and every pixel's place in it, (R, H), (R, W).

    Args:
        corner: (R, 2), uniform in [0, 1).
        side: in pixels; or that, as a scalar.
    """
    places = []
    for size, at in zip(x.shape[2:], corner.unbind(1), strict=True):
        begin = (at * (size - side + 1)).long().clamp_max(size - side)
        places.append(torch.arange(size, device=x.device) - begin[:, None])
    inside = [(place >= 0) & (place < side) for place in places]
    mask = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return mask, (places[0], places[1])


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


def _bumps(side: int, x: Tensor) -> Tensor:
    """(2, side, side), the pattern of an l2 square upright and lying; its side is odd, 3 or more,
    and fits into the image.
    """
    side = min(side | 1 if side > 1 else 3, *x.shape[2:])
    upright = _two_bumps(side).to(x)
    return torch.stack([upright, upright.T])


def _shift_mass(x_best: Tensor, x: Tensor, draw: Tensor, bumps: Tensor, eps: float) -> Tensor:
    """Move mass between squares (alg. 3): one is emptied into another, with the unspent budget.

    Each channel keeps its own budget.

    Args:
        bumps: (2, side, side), see `_bumps`.
    """
    side = bumps.shape[1]
    mask, places = _window(x, draw[:, :2], side)
    down, along = (place.clamp(0, side - 1) for place in places)
    emptied, _ = _window(x, draw[:, 2:4], side)
    delta = x_best - x
    bumps = bumps[(draw[:, 4] < 0.5).long()]
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


SQUARE = AttackSpec(
    run=square,
    restarts=True,
    reads=("steps",),
    protocols=("best_loss", "first_success", "last_success"),
    gradient_free=True,
    cost=lambda config: config.steps,
)
