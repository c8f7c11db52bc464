"""What a search climbs: one number an example, larger is nearer to the goal."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fftune.config import Goal, Loss
from fftune.errors import ConfigError

AttackLoss = Callable[[Tensor], Tensor]


def attack_loss(model: nn.Module, x: Tensor, y: Tensor, *, goal: Goal, loss: Loss) -> AttackLoss:
    """The function from (B, K) logits of perturbed inputs to the (B,) loss that is maximised.

    "adversarial" climbs the cross-entropy of `y` (Madry et al. 2018), "targeted" and
    "hypocritical" descend it (Tao et al. 2022, sec. 3.1), "stability" climbs
    KL(p(x) || p(x')) (Zhang et al. 2019; Tao et al. 2022, eq. 2).

    Args:
        x: (B, C, H, W), the unperturbed inputs.
        y: (B,) int64, the label that the goal speaks of.

    Raises:
        ConfigError: the goal has no such loss.
    """
    match goal, loss:
        case "adversarial", "ce":
            return lambda logits: F.cross_entropy(logits, y, reduction="none")
        case (("targeted" | "hypocritical"), "ce"):
            return lambda logits: -F.cross_entropy(logits, y, reduction="none")
        case "stability", "kl":
            with torch.no_grad():
                logits_clean = model(x)
            return lambda logits: kl(logits_clean, logits)
    raise ConfigError(f"loss {loss!r} is not defined for goal {goal!r}")


def kl(logits_p: Tensor, logits_q: Tensor) -> Tensor:
    """(B,) KL(p || q) of the distributions that two (B, K) logits stand for."""
    log_p, log_q = logits_p.log_softmax(1), logits_q.log_softmax(1)
    # kl_div(q, p) is KL(p || q): the first argument is the *second* distribution.
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)
