"""Searches for a point of a ball that serves a goal. One search, every goal."""

from typing import Protocol

from torch import Tensor, nn

from fftune.attacks.apgd import apgd
from fftune.attacks.deepfool import deepfool
from fftune.attacks.fab import fab
from fftune.attacks.goals import success
from fftune.attacks.pgd import cw, fgsm, pgd, pgd_hedged
from fftune.attacks.rays import rays
from fftune.attacks.square import square
from fftune.config import AttackConfig, Goal, Loss, Search
from fftune.keyed_noise import Noise

__all__ = [
    "SEARCHES",
    "Attack",
    "apgd",
    "cw",
    "deepfool",
    "fab",
    "fgsm",
    "pgd",
    "pgd_hedged",
    "rays",
    "square",
    "success",
]


class SearchFunction(Protocol):
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


SEARCHES: dict[Search, SearchFunction] = {
    "fgsm": fgsm,
    "pgd": pgd,
    "cw": cw,
    "deepfool": deepfool,
    "apgd": apgd,
    "fab": fab,
    "square": square,
    "rays": rays,
    "pgd_hedged": pgd_hedged,
}
