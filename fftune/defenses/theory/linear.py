"""The linear model on which Wu et al. 2021 explain Hedge Defense (sec. 5 and appendix C).

Two classes of a number x, y = sign(x). Where a class is the true one its score has slope k_t,
where it is the false one k_f. The learned score of +1 is biased, so that the boundary lies at
zeta instead of 0: right on natural examples, wrong on some that were pushed by eps.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from fftune.attacks import pgd
from fftune.config import AttackConfig, HedgeConfig, ThreatModel
from fftune.defenses.hedge import hedge
from fftune.keyed_noise import Noise

SPAN = 8.0
"""The number x is the pixel (x / SPAN + 1) / 2: a power of two, so that nothing is rounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearTask:
    """The constants of the task, in units of x; zeta < eps in section 5."""

    k_t: float = 0.125
    k_f: float = 1.0
    zeta: float = 0.5
    eps: float = 1.0
    eps_d: float = 1.0
    least: float = 1.0
    """Examples have `least` < |x| < `most`; section 5 leaves out those that nobody can tell."""
    most: float = 4.0

    def points(self, count: int = 600) -> tuple[Tensor, Tensor]:
        """(N, 1, 1, 1) pixels and (N,) int64 classes, 1 for y = +1: midpoints of equal cells."""
        half = count // 2
        cell = (self.most - self.least) / half
        right = self.least + cell * (torch.arange(half, dtype=torch.float64) + 0.5)
        x = torch.cat([-right, right])
        return ((x / SPAN + 1) / 2).view(-1, 1, 1, 1), (x > 0).long()


class LinearNet(nn.Module):
    """Logits (f_{-1}, f_{+1}), eq. 5.1, with the bias of sec. 5.2."""

    def __init__(self, task: LinearTask) -> None:
        super().__init__()
        self.task = task

    def forward(self, pixels: Tensor) -> Tensor:
        task, x = self.task, numbers(pixels)
        plus = torch.where(x > 0, task.k_t * x, task.k_f * x) - task.zeta * (task.k_t + task.k_f)
        minus = torch.where(x > 0, -task.k_f * x, -task.k_t * x)
        return torch.stack([minus, plus], 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearCourse:
    """Examples before and after attack and hedge: (N, 1, 1, 1) pixels, and (N,) classes."""

    y: Tensor
    natural: Tensor
    attacked: Tensor
    natural_hedged: Tensor
    hedged: Tensor
    """Attacked, then hedged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearAccuracies:
    """Shares of right answers of the biased net."""

    natural: float
    attacked: float
    natural_hedged: float
    hedged: float
    """Attacked, then hedged."""


def numbers(pixels: Tensor) -> Tensor:
    """(N,) numbers x of (N, 1, 1, 1) pixels."""
    return SPAN * (2 * pixels.flatten(1).squeeze(1) - 1)


def course(
    task: LinearTask, *, loss: str = "linear", steps: int = 1, count: int = 600
) -> LinearCourse:
    """Attack and hedge `count` examples in `steps` steps that together are as long as the radius.

    The attacker climbs the linear loss in either case: with two classes only its sign matters.
    """
    net, (x, y) = LinearNet(task), task.points(count)
    ids, noise = torch.arange(len(x)), Noise(0)
    eps, eps_d = task.eps / (2 * SPAN), task.eps_d / (2 * SPAN)
    attack = AttackConfig(
        threat=ThreatModel(eps=eps), steps=steps, step_size=eps / steps, start="none"
    )
    defense = HedgeConfig(eps_d=eps_d, steps=steps, step_size=eps_d / steps, start="none")
    defense = replace(defense, loss="linear" if loss == "linear" else "ce")
    x_adv = pgd(net, x, y, config=attack, goal="adversarial", loss="linear", noise=noise, ids=ids)

    def hedged(pixels: Tensor) -> Tensor:
        return hedge(net, pixels, config=defense, noise=noise, ids=ids)

    return LinearCourse(
        y=y, natural=x, attacked=x_adv, natural_hedged=hedged(x), hedged=hedged(x_adv)
    )


def accuracies(task: LinearTask, *, loss: str = "linear", steps: int = 1) -> LinearAccuracies:
    """Accuracies along the course of the examples; see there."""
    net, found = LinearNet(task), course(task, loss=loss, steps=steps)

    def right(pixels: Tensor) -> float:
        return float((net(pixels).argmax(1) == found.y).double().mean())

    return LinearAccuracies(
        natural=right(found.natural),
        attacked=right(found.attacked),
        natural_hedged=right(found.natural_hedged),
        hedged=right(found.hedged),
    )
