"""Constraint relaxation: an ascent that leaves the ball for a while, and comes back into it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from fftune.attacks.iteration import BatchState, answer, value_and_gradient
from fftune.attacks.losses import AttackObjective, require_margin
from fftune.attacks.pgd import pgd
from fftune.attacks.search_state import ActiveBatch, BestSoFar, begin, run_pieces, target_count
from fftune.attacks.spec import BACKWARD_COST, AttackSpec
from fftune.capture import captured
from fftune.config import AttackConfig, Goal, Loss, ThreatModel
from fftune.devices import policy
from fftune.keyed_noise import Noise
from fftune.threat import project, step

CYCLES = 5
"""Cycles that the steps are divided into: 30 steps each of the published 150."""
FIRST = 15
"""Divisor of the steps: PGD takes so many fewer before, to see which classes are near."""
LEAST = 0.05
"""Least length of a step, as a share of eps; it is half of eps in the first cycle, and halves."""
HOPELESS = 0.5
"""Lead that is missing, in deviations of the clean logits and for a step of eps, after which a row
is given up."""
NEAR = 0.025
"""Lead that may be missing, in the same unit, for a class to be tried again from another start."""


def cr(
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
    """Constraint Relaxation attack (Pan et al. 2025), for every goal that has a margin.

    A short PGD on the cross-entropy decides what is easy, and where it ends the likeliest other
    classes are read off, `config.targets` of them, at which an adversary aims one after another; a
    false friend has its one. A row climbs the lead of that class in cycles. Each has three parts:
    steps in a larger ball, each of whose points is asked about once it is brought back into the
    ball; steps in the ball; and steps from a point that was drawn nearer to x and then moved at
    random. Cheap it is by what it gives up: a row that still misses much after the second part,
    and further starts for classes that never came near.

    The published thresholds for that are logits, so that they mean another thing where logits are
    scaled; here they are deviations of the clean logits. Published for linf only.

    Arguments and guarantees as in `pgd`. Hands over an example's first success.

    Raises:
        ConfigError: the loss is not "margin".
    """
    require_margin("cr", loss)
    config = config.handing("first_success")
    rows = begin(model, x, y, config=config, goal=goal, loss=loss, noise=noise, ids=ids)
    found = BestSoFar.nothing(rows.x, stop=True)
    if not len(rows):
        return found.x
    clean = rows.aim.logits_clean
    assert clean is not None  # `begin` asks for it under this protocol
    found.offer(rows.x, rows.aim.is_success(clean), rows.aim(clean))
    targets = target_count(rows, config)
    rivals = _likeliest(rows, found, config, max(targets, 1))
    unit, jobs = clean.std(1, correction=0), rivals.shape[1]
    near = torch.ones_like(rivals, dtype=torch.bool)
    for job in range(jobs * config.restarts):
        which = job % jobs
        left = (~found.won & near[:, which]).nonzero().flatten()
        width = policy(x.device.type).most(x[:1].numel(), len(left))
        for examples in left.split(width) if width else ():
            part = _aimed(rows.select(examples), job, rivals[examples, which] if targets else None)
            best = BestSoFar.nothing(part.x, stop=True)
            _climb(part, best, unit[examples], config)
            near[examples, which] = best.score > -NEAR * unit[examples]
            found.merge(best, examples)
    return found.x


def _likeliest(rows: ActiveBatch, found: BestSoFar, config: AttackConfig, count: int) -> Tensor:
    """(B, count) int64, the likeliest classes but the label, where a short PGD ends."""
    at = found.active
    rivals = torch.zeros(len(rows), count, dtype=torch.int64, device=rows.x.device)
    if not len(at):
        return rivals
    length = config.threat.eps / 2
    short = replace(
        config, search="pgd", steps=config.steps // FIRST, step_size=length, targets=0, restarts=1
    )
    part = rows.select(at)
    x_pert = pgd(
        part.model,
        part.x,
        part.aim.y,
        config=short,
        goal=part.aim.goal,
        loss="ce",
        noise=rows.noise.noise.fold("cr"),
        ids=part.noise.ids,
    )
    with torch.no_grad():
        logits = part.model(x_pert)
    found.offer(x_pert, part.aim.is_success(logits), part.aim(logits))
    others = logits.scatter(1, part.aim.label[:, None], -torch.inf)
    rivals[at] = others.topk(count, dim=1).indices
    return rivals


def _aimed(rows: ActiveBatch, job: int, target: Tensor | None) -> ActiveBatch:
    """The rows of one job, aimed at (R,) int64 classes, if any."""
    aim, numbers = replace(rows.aim, target=target), torch.full_like(rows.job, job)
    return replace(rows, aim=aim, job=numbers, jobs=(job,))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """Steps of one part of a cycle between two looks at what is decided."""

    cycle: int
    share: float
    """Length of the steps, and how far the ball is widened or drawn in, as a share of eps."""
    relaxed: bool = False
    """The steps are those in the wider ball."""
    back: bool = False
    """Before the first step, the point is brought back into the ball."""
    drawn_in: bool = False
    """Before the first step, the point is drawn in and moved at random."""
    judged: bool = False
    """After the last step, rows that miss too much are given up."""
    count: int


def _pieces(steps: int, chunk: int) -> Iterator[_Piece]:
    cycle = max(steps // CYCLES, 1)
    third = cycle // 3
    for at in range(0, steps, cycle):
        now, ends = at // cycle, (third, 2 * third, cycle)
        share = max(0.5 ** (now + 1), LEAST)
        for part, (first, end) in enumerate(pairwise((0, *ends))):
            length = min(end, steps - at) - first  # the last cycle may be cut short
            for begun in range(0, length, chunk):
                count = min(chunk, length - begun)
                yield _Piece(
                    cycle=now,
                    share=share,
                    relaxed=part == 0,
                    back=part == 1 and not begun,
                    drawn_in=part == 2 and not begun,
                    judged=part == 1 and begun + count == length,
                    count=count,
                )


def _climb(rows: ActiveBatch, found: BestSoFar, unit: Tensor, config: AttackConfig) -> None:
    def advance(
        rows: ActiveBatch, state: tuple[Tensor, Tensor], batch: BatchState, piece: _Piece
    ) -> tuple[tuple[Tensor, Tensor], BatchState]:
        x_pert, unit = state
        if piece.back:
            x_pert = project(x_pert, rows.x, config.threat)
        if piece.drawn_in:
            near = _wider(config.threat, -piece.share)
            drawn = replace(rows, x=project(x_pert, rows.x, near))
            moved = replace(config, threat=_wider(config.threat, piece.share - 1))
            x_pert = drawn.start(moved, "cr", "moved", piece.cycle)
        x_pert, batch = _steps(
            rows.net,
            rows.x,
            rows.aim,
            x_pert,
            batch,
            unit,
            threat=config.threat,
            share=piece.share,
            relaxed=piece.relaxed,
            judged=piece.judged,
            count=piece.count,
            lenient=rows.lenient,
        )
        return (x_pert, unit), batch

    pieces = _pieces(config.steps, policy(rows.x.device.type).chunk)
    run_pieces(rows, found, (rows.start(config, "cr"), unit), pieces, advance)


def _wider(threat: ThreatModel, share: float) -> ThreatModel:
    """The ball with a radius of (1 + share) eps; in linf none is wider than all pixels."""
    radius = (1 + share) * threat.eps
    return replace(threat, eps=min(radius, 1.0) if threat.norm == "linf" else radius)


@captured
def _steps(
    net: nn.Module,
    x: Tensor,
    aim: AttackObjective,
    x_pert: Tensor,
    batch: BatchState,
    unit: Tensor,
    *,
    threat: ThreatModel,
    share: float,
    relaxed: bool,
    judged: bool,
    count: int,
    lenient: bool,
) -> tuple[Tensor, BatchState]:
    """Take steps; those in the wider ball are asked about where they are brought back."""
    ball = _wider(threat, share) if relaxed else threat
    for _ in range(count):
        at = value_and_gradient(net, aim, x_pert, lenient=lenient)
        batch = batch.counted(forwards=None, backwards=None, flat=at.flat, broken=at.broken)
        if not relaxed:
            batch = batch.offered(x_pert, at.won, at.loss, stop=True)
        x_pert = project(step(x_pert, at.grad, share * threat.eps, threat.norm), x, ball)
        if relaxed:
            inside = project(x_pert, x, threat)
            won, loss = answer(net, aim, inside)
            batch = batch.counted(forwards=None, queries=None)
            batch = batch.offered(inside, won, loss, stop=True)
    if judged:
        batch = replace(batch, searched=batch.searched & (at.loss >= -HOPELESS * share * unit))
    return x_pert, batch


def _cost(config: AttackConfig) -> float:
    return config.steps * max(config.targets, 1) * (1 + BACKWARD_COST)


CR = AttackSpec(
    run=cr,
    losses=("margin",),
    restarts=True,
    reads=("steps", "targets"),
    protocols=("first_success",),
    cost=_cost,
)
