"""Projected gradient ascent on the goal's loss (PGD), and its special cases: FGSM, C&W."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from fftune.attacks.losses import require_margin
from fftune.attacks.search_state import ActiveBatch, BestSoFar, begin, run_packed
from fftune.attacks.spec import AttackSpec, gradient_steps
from fftune.config import AttackConfig, Goal, Loss
from fftune.keyed_noise import Noise
from fftune.threat import project, step


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
    differs in the sign of the loss and in nothing else. Under `fixed` all steps are taken and
    the last iterate is returned, as the papers do; of several restarts, the first whose last
    iterate succeeds (Wu et al. 2021, table 3).

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
    rows = begin(model, x, y, config=config, goal=goal, loss=loss, noise=noise, ids=ids)

    def search(rows: ActiveBatch, found: BestSoFar) -> None:
        x_pert = rows.start(config, "pgd")
        for k in range(config.steps):
            won, value, grad = rows.gradient(x_pert, k)
            if config.protocol == "strong":
                kept = found.offer(x_pert, won, value)
                if kept is not None:
                    rows, x_pert, grad = rows.select(kept), x_pert[kept], grad[kept]
                if not len(rows):
                    return
            x_pert = step(x_pert, grad, config.step_length, config.threat.norm)
            x_pert = project(x_pert, rows.x, config.threat)
        if config.protocol == "strong":
            found.offer(x_pert, *rows.ask(x_pert))
            return
        # Every last iterate is as good as another: only success tells restarts apart.
        score = found.score.new_zeros(len(rows))
        won = rows.ask(x_pert)[0] if config.restarts > 1 else torch.zeros_like(found.won)
        found.offer(x_pert, won, score)

    return run_packed(rows, config.restarts, config, search)


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

    The paper's authors tried it against their defence and found it weak. See `pgd`.
    """
    turns = torch.stack([y, torch.full_like(y, -1)], 1).repeat(1, max(1, config.steps))
    config = replace(config, steps=2 * config.steps)
    return pgd(model, x, turns, config=config, goal=goal, loss=loss, noise=noise, ids=ids)


PGD = AttackSpec(run=pgd, restarts=True, strong=True, keeps_last=True, may_unclamp=True)
FGSM = AttackSpec(
    run=fgsm,
    losses=("ce", "margin", "dlr", "linear"),  # the gradient of "kl" is 0 at x, where it starts
    strong=True,
    keeps_last=True,
    may_unclamp=True,
)
CW = AttackSpec(
    run=cw, losses=("margin",), restarts=True, strong=True, keeps_last=True, may_unclamp=True
)
PGD_HEDGED = AttackSpec(
    run=pgd_hedged,
    restarts=True,
    strong=True,
    may_unclamp=True,
    cost=lambda config: 2 * gradient_steps(config),
)
