"""The optimiser of a training and its learning rate at every step."""

import itertools
from bisect import bisect_right
from collections.abc import Callable, Iterator
from inspect import unwrap

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from fftune.capture import captured
from fftune.config import OptimizerConfig, TrainConfig
from fftune.models.linf_training import ADAM_EPS, BETAS, lr_at

NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def _free_of_compiler(kind: type[torch.optim.Optimizer]) -> type[torch.optim.Optimizer]:
    """Take off wrappers that import torch's compiler, for seconds, to be left alone by it."""
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        setattr(kind, name, unwrap(getattr(kind, name)))
    kind.step = torch.no_grad()(unwrap(kind.step))  # type: ignore[method-assign]
    return kind


@_free_of_compiler
class SGD(torch.optim.SGD):
    """Stochastic gradient descent."""


@_free_of_compiler
class Adam(torch.optim.Adam):
    """Adam (Kingma & Ba 2015)."""


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """SGD with momentum, or Adam; fused, so that all weights are updated in one pass."""
    settings = config.optimizer
    if settings.algorithm == "adam_lp":  # the net itself decays: see `LinfDist.decay`
        return Adam(model.parameters(), config.lr, BETAS, ADAM_EPS, fused=True)
    decay = settings.weight_decay
    groups = [
        {"params": [*_parameters(model, norms=False)], "weight_decay": decay},
        {
            "params": [*_parameters(model, norms=True)],
            "weight_decay": decay if settings.decay_norm else 0.0,
        },
    ]
    groups = [group for group in groups if group["params"]]
    return SGD(groups, config.lr, settings.momentum, fused=True)


class Updates:
    """Clearing gradients and stepping an optimizer, recorded where joint steps are."""

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, *, recorded: bool
    ) -> None:
        self.model, self.optimizer = model, optimizer
        groups = optimizer.param_groups if recorded else []
        self.rates = [torch.zeros((), device=group["params"][0].device) for group in groups]
        """Learning rates as a recording reads them, one a group; none: nothing is recorded."""

    def clear(self) -> None:
        """Clear all gradients, where they are recorded at their addresses.

        Elsewhere there are none after it, so that a parameter without part in a step is left alone.
        """
        if self.rates:
            _clear(self.model)
        else:
            self.optimizer.zero_grad()

    def step(self) -> None:
        """Update the weights at the rates that the optimizer's groups have now."""
        if not self.rates:
            self.optimizer.step()
            return
        groups = self.optimizer.param_groups
        numbers = [group["lr"] for group in groups]
        try:
            for group, rate, number in zip(groups, self.rates, numbers, strict=True):
                group["lr"] = rate.fill_(number)
            _step(self.optimizer)
        finally:
            for group, number in zip(groups, numbers, strict=True):
                group["lr"] = number


@captured
def _clear(model: nn.Module) -> None:
    model.zero_grad(set_to_none=False)


@captured
def _step(optimizer: torch.optim.Optimizer) -> None:
    optimizer.step()


def make_schedule(
    optimizer: torch.optim.Optimizer, config: TrainConfig, steps: list[int]
) -> LRScheduler:
    """The learning rate of every step.

    Args:
        steps: number of steps of each epoch.
    """
    settings = config.optimizer
    if settings.schedule == "one_cycle":
        total = max(sum(steps), 1)
        return OneCycleLR(optimizer, config.lr, total_steps=total, cycle_momentum=False)
    if settings.schedule == "held_cosine":
        total = max(sum(steps), 1)
        return LambdaLR(optimizer, lambda step: lr_at(min(step / total, 1)))
    if settings.schedule == "step":
        return LambdaLR(optimizer, _by_step(lambda t: _decayed(settings, t), steps))
    # Rates are absolute, so the optimizer's own is made 1.
    for group in optimizer.param_groups:
        group["lr"] = 1.0
    # FastAT's code takes the rate that stands at the end of a step.
    by_step = _by_step(lambda t: between(settings.knots, t), steps, ends=True)
    return LambdaLR(optimizer, by_step)


def between(knots: tuple[tuple[float, float], ...], epoch: float) -> float:
    """The rate at `epoch`, on the straight line between the knots around it."""
    for (before, low), (after, high) in itertools.pairwise(knots):
        if epoch <= after:
            return low + (high - low) * (epoch - before) / (after - before)
    return knots[-1][1]


def _decayed(settings: OptimizerConfig, epoch: float) -> float:
    """The share of the rate that is left; a milestone counts from its epoch's beginning."""
    passed = sum(epoch >= milestone for milestone in settings.milestones)
    return settings.decay**passed


def _by_step(
    rate: Callable[[float], float], steps: list[int], *, ends: bool = False
) -> Callable[[int], float]:
    """A rate by epoch as one by step, taken where each step begins, or `ends`."""
    starts = [0, *itertools.accumulate(steps)]

    def at(step: int) -> float:
        epoch = min(bisect_right(starts, step), len(steps)) - 1
        if epoch < 0:  # a run without steps
            return rate(0)
        return rate(epoch + min((step - starts[epoch] + ends) / steps[epoch], 1))

    return at


def _parameters(model: nn.Module, *, norms: bool) -> Iterator[nn.Parameter]:
    for module in model.modules():
        if isinstance(module, NORMS) == norms:
            yield from module.parameters(recurse=False)
