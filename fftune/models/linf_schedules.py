"""How Zhang et al. (2021) train `linf_dist`: p, learning rate and loss, as functions.

The constants are of upstream's command for CIFAR-10, which P1 (appendix G) follows: AdamW with
betas .9 and .99 and eps 1e-10, its weight decay replaced by `LinfDist.decay`.
"""

import math

import torch.nn.functional as F
from torch import Tensor

EPOCHS = 800
HOLD = 100 / EPOCHS
"""Until here p and the learning rate stay at their first values."""
INFINITE = 750 / EPOCHS
"""From here on p is infinite."""
P_START, P_END = 8.0, 1000.0
BATCH_SIZE = 512
LR = 0.02
WEIGHT_DECAY = 5e-3
BETAS, ADAM_EPS = (0.9, 0.99), 1e-10
EPS_TRAIN = 0.1568
"""In pixels of [0, 1]: five times the radius of the test."""
MIX = 0.75


def p_at(progress: float) -> float:
    """The p of a training step: held, then growing by equal factors, at last infinite.

    Args:
        progress: steps done / all steps, before the step; at 1, training is over.
    """
    grown = max(0.0, (progress - HOLD) / (INFINITE - HOLD))
    return math.inf if grown >= 1 else P_START * (P_END / P_START) ** grown


def lr_at(progress: float) -> float:
    """The share of the learning rate at a training step: held at 1, then half a cosine to 0."""
    return 0.5 * (1 + math.cos(math.pi * max(0.0, (progress - HOLD) / (1 - HOLD))))


def hinge_mix(logits: Tensor, y: Tensor, *, threshold: float, mix: float = MIX) -> Tensor:
    """The loss: mix x the worst class's hinge + (1 - mix) x the mean hinge over all classes.

    A class's hinge is max(0, z_j - z_y + threshold), that of y itself 0. With `threshold` =
    2 eps lipschitz it is 0 exactly where the net is certified right within eps.

    Args:
        logits: (B, K).
        threshold: 2 x `EPS_TRAIN` x `LinfDist.lipschitz` in the recipe.
    """
    lead = logits - logits.gather(1, y[:, None]) + threshold
    hinge = F.relu(lead).scatter(1, y[:, None], 0)
    return mix * hinge.amax(1).mean() + (1 - mix) * hinge.mean()
