"""Projected gradient ascent on the goal's loss (PGD), and its special cases: FGSM, C&W."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from fftune.attacks.iteration import BatchState, answer, value_and_gradient
from fftune.attacks.losses import AttackObjective, require_margin
from fftune.attacks.search_state import ActiveBatch, BestSoFar, begin, run_packed, run_pieces
from fftune.attacks.spec import EVERY_LOSS, AttackSpec, gradient_steps
from fftune.capture import captured
from fftune.config import AttackConfig, Goal, Loss, Protocol, ThreatModel
from fftune.devices import policy
from fftune.keyed_noise import Noise
from fftune.threat import project, step

UNROLLED = 20
"""Largest number of steps that are recorded as one, where nothing is looked at in between."""


def pgd(
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
    """Perturb `x` to make the model wrong about `y`, to make it look right, or to sway it.

    Madry et al. 2018 for "adversarial"; Tao et al. 2022, sec. 3.1, for "hypocritical", which
    differs in the sign of the loss and in nothing else. The papers hand over the last iterate; of
    several restarts, that of the first whose last iterate succeeds (Wu et al. 2021, table 3).

    Args:
        model: takes (B, C, H, W) in [0, 1], returns (B, K) logits; used in the mode it is in.
        x: (B, C, H, W) float, pixels in [0, 1].
        y: (B,) int64, the label that the goal speaks of; or (B, steps), a label for each
            step to climb, of which -1 stands for all classes and the first is the goal's.
        noise: the branch for (data set, split); the attack goes on from there.
        ids: (B,) int64, the examples' ids, which key the random start. The goal does not, so
            that "targeted" at the true class and "hypocritical" are one and the same.

    Returns:
        (B, C, H, W) inside `config.threat`, detached. `x` and the model's parameter
        gradients are left as they were.
    """
    config = config.handing("last_iterate")
    rows = begin(model, x, y, config=config, goal=goal, loss=loss, noise=noise, ids=ids)

    def search(rows: ActiveBatch, found: BestSoFar) -> None:
        _ascend(rows, found, config)

    return run_packed(rows, config.restarts, config, search, nearest=False)


def _ascend(rows: ActiveBatch, found: BestSoFar, config: AttackConfig) -> None:
    protocol = config.protocol
    assert protocol is not None  # resolved by `pgd`
    early = protocol == "first_success"
    judged = protocol != "last_iterate" or config.restarts > 1

    def advance(
        rows: ActiveBatch, x_pert: Tensor, batch: BatchState, piece: tuple[int, int]
    ) -> tuple[Tensor, BatchState]:
        index, count = piece
        if index == config.steps and judged:
            return x_pert, _judged(rows.net, rows.aim, x_pert, batch, protocol=protocol)
        return _steps(
            rows.net,
            rows.x,
            rows.aim,
            x_pert,
            batch,
            threat=config.threat,
            length=config.step_length,
            index=0 if rows.aim.turns is None else index,
            count=count,
            protocol=protocol,
            last=index + count == config.steps and not judged,
            lenient=rows.lenient,
        )

    chunk = policy(rows.x.device.type).chunk if early else UNROLLED
    pieces = [(at, min(chunk, config.steps - at)) for at in range(0, config.steps, chunk)]
    if judged or not pieces:
        pieces.append((config.steps, 0))
    run_pieces(rows, found, rows.start(config, "pgd"), pieces, advance, leaving=early)


@captured
def _steps(
    net: nn.Module,
    x: Tensor,
    aim: AttackObjective,
    x_pert: Tensor,
    batch: BatchState,
    *,
    threat: ThreatModel,
    length: float,
    index: int,
    count: int,
    protocol: Protocol,
    last: bool,
    lenient: bool,
) -> tuple[Tensor, BatchState]:
    """Take steps; the `last` of them ends where nobody asks if it has succeeded."""
    for k in range(index, index + count):
        at = value_and_gradient(net, aim, x_pert, k, lenient=lenient)
        batch = batch.counted(forwards=None, backwards=None, flat=at.flat, broken=at.broken)
        if protocol != "last_iterate":
            batch = _offered(batch, x_pert, at.won, at.loss, protocol)
        x_pert = project(step(x_pert, at.grad, length, threat.norm), x, threat)
    if last:
        nothing = torch.zeros_like(batch.score)
        batch = batch.offered(x_pert, nothing > 0, nothing, stop=False)
    return x_pert, batch


@captured
def _judged(
    net: nn.Module, aim: AttackObjective, x_pert: Tensor, batch: BatchState, *, protocol: Protocol
) -> BatchState:
    """Offer the last iterate, of which under `last_iterate` only success tells restarts apart."""
    won, loss = answer(net, aim, x_pert)
    batch = batch.counted(forwards=None, queries=None)
    score = torch.zeros_like(loss) if protocol == "last_iterate" else loss
    return _offered(batch, x_pert, won, score, protocol)


def _offered(
    batch: BatchState, x_pert: Tensor, won: Tensor, score: Tensor, protocol: Protocol
) -> BatchState:
    first, last = protocol == "first_success", protocol == "last_success"
    return batch.offered(x_pert, won, score, stop=first, last=last)


def fgsm(
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
    """One step of length eps from x itself (Goodfellow et al. 2015). See `pgd`."""
    config = replace(config, steps=1, step_size=config.threat.eps, start="none", restarts=1)
    return pgd(model, x, y, config=config, goal=goal, loss=loss, noise=noise, ids=ids)


def cw(
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
    """PGD on the margin (Carlini & Wagner 2017), which both papers call C&W. See `pgd`.

    Raises:
        ConfigError: the loss is another one.
    """
    require_margin("cw", loss)
    return pgd(model, x, y, config=config, goal=goal, loss=loss, noise=noise, ids=ids)


def pgd_hedged(
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
    """PGD with a hedge step after each of its own, inside the same ball (Wu et al. 2021, B.11).

    The paper's authors tried it against their defense and found it weak. See `pgd`.
    """
    turns = torch.stack([y, torch.full_like(y, -1)], 1).repeat(1, max(1, config.steps))
    config = replace(config, steps=2 * config.steps)
    return pgd(model, x, turns, config=config, goal=goal, loss=loss, noise=noise, ids=ids)


ANY: tuple[Protocol, ...] = ("last_iterate", "best_loss", "first_success", "last_success")

PGD = AttackSpec(
    run=pgd,
    losses=EVERY_LOSS,
    restarts=True,
    reads=("steps", "step_size", "start"),
    protocols=ANY,
    keeps_last=True,
    may_unclamp=True,
)
FGSM = AttackSpec(
    run=fgsm,
    # The gradient of "kl" is 0 at x, where it starts.
    losses=("ce", "margin", "dlr", "linear", "probability_margin"),
    reads=(),
    protocols=ANY,
    keeps_last=True,
    may_unclamp=True,
)
CW = AttackSpec(
    run=cw,
    losses=("margin",),
    restarts=True,
    reads=("steps", "step_size", "start"),
    protocols=ANY,
    keeps_last=True,
    may_unclamp=True,
)
PGD_HEDGED = AttackSpec(
    run=pgd_hedged,
    restarts=True,
    reads=("steps", "step_size", "start"),
    protocols=ANY,
    may_unclamp=True,
    cost=lambda config: 2 * gradient_steps(config),
)
