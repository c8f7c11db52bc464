"""What training minimises: functions of logits, and how their second half is crafted."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from fftune.attacks.losses import kl
from fftune.config import Goal, Loss, Objective
from fftune.errors import ConfigError


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """CE(p, y), the mean over the batch: p(x) of standard training, p(x_adv) of PGD-AT.

    Tao et al. 2022, eq. 1 (Madry et al. 2018). FastAT minimises the same as PGD-AT, with one
    long step from a random start (Wong et al. 2020).
    """
    return F.cross_entropy(logits, y)


def trades(logits: Tensor, logits_sta: Tensor, y: Tensor, *, lam: float) -> Tensor:
    """CE(p(x), y) + lam * KL(p(x) || p(x_sta)). Tao et al. 2022, eq. 2 (Zhang et al. 2019).

    Args:
        logits: (B, K) on the clean batch; the KL's gradient flows through them as well.
        logits_sta: (B, K) on the same batch after a search with goal "stability".
        lam: the weight of stability risk, >= 0.
    """
    return F.cross_entropy(logits, y) + lam * kl(logits, logits_sta).mean()


def thrm(logits: Tensor, logits_hyp: Tensor, y: Tensor, *, lam: float) -> Tensor:
    """CE(p(x), y) + lam * KL(p(x) || p(x_hyp)). Tao et al. 2022, eq. 3.

    It differs from `trades` in how the perturbed batch is found, and in nothing else.

    Args:
        logits: (B, K) on the clean batch; the KL's gradient flows through them as well.
        logits_hyp: (B, K) on the same batch after a search with goal "hypocritical".
        lam: the weight of hypocritical risk, >= 0.
    """
    return trades(logits, logits_hyp, y, lam=lam)


@dataclass(frozen=True, slots=True)
class Crafting:
    """The search whose result an objective trains on."""

    goal: Goal
    loss: Loss
    joint: bool
    """Whether the clean batch takes part, in one forward with the perturbed one."""


CRAFTING: dict[Objective, Crafting | None] = {
    "standard": None,
    "hinge": None,
    "pgd_at": Crafting("adversarial", "ce", joint=False),
    "fast_at": Crafting("adversarial", "ce", joint=False),
    "trades": Crafting("stability", "kl", joint=True),
    "thrm": Crafting("hypocritical", "ce", joint=True),
}


def crafting(objective: Objective, lam: float) -> Crafting | None:
    """None where training is standard: by name, or because lambda is 0.

    With lambda = 0 no joint forward may happen either: its second half, weighted by zero,
    would still move BatchNorm's statistics.
    """
    if objective in ("trades", "thrm") and lam == 0:
        return None
    return CRAFTING[objective]


def loss_of(objective: Objective, logits: Tensor, y: Tensor, *, lam: float) -> Tensor:
    """The objective's value, a scalar.

    Args:
        logits: (B, K) on the batch that the objective looks at, or (2B, K) on the clean batch and
            its perturbed counterpart, where it looks at both.
        y: (B,) int64.
    """
    if objective == "hinge":
        raise ConfigError("objective 'hinge' needs a threshold: see models.linf_recipe.hinge_mix")
    craft = crafting(objective, lam)
    if craft is None or not craft.joint:
        return cross_entropy(logits, y)
    clean, perturbed = logits.chunk(2)
    return {"trades": trades, "thrm": thrm}[objective](clean, perturbed, y, lam=lam)
