"""Searches for a point of a ball that serves a goal. One search, every goal."""

from typing import Protocol

from torch import Tensor, nn

from fftune.attacks.goals import success
from fftune.attacks.pgd import pgd
from fftune.config import AttackConfig, Goal, Loss, Search
from fftune.noise import Noise

__all__ = ["SEARCHES", "Attack", "pgd", "success"]


class Attack(Protocol):
    """The shape that all searches share; see `pgd`."""

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        config: AttackConfig,
        goal: Goal,
        loss: Loss,
        noise: Noise,
        ids: Tensor,
    ) -> Tensor: ...


SEARCHES: dict[Search, Attack] = {"pgd": pgd}
