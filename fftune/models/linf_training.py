"""Training of `linf_dist` (Zhang et al. 2021): p, learning rate, loss and decay, step by step.

The constants are those of upstream's command for CIFAR-10, which Tao et al. 2022, appendix G,
follow: AdamW with betas 0.9 and 0.99 and eps 1e-10, its weight decay replaced by `LinfDist.decay`.
"""

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from fftune.config import TrainConfig
from fftune.models.linf_dist import LinfDist

EPOCHS = 800
HOLD = 100 / EPOCHS
"""Share of training until which p and the learning rate stay at their first values."""
INFINITE = 750 / EPOCHS
"""Share of training from which on p is infinite."""
P_START, P_END = 8.0, 1000.0
BETAS, ADAM_EPS = (0.9, 0.99), 1e-10
EPS_TRAIN = 0.1568
"""The radius of training, in pixels of [0, 1]: five times the radius of the test."""
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
        y: (B,) int64.
        threshold: 2 x `EPS_TRAIN` x `LinfDist.lipschitz` in the recipe.
    """
    lead = logits - logits.gather(1, y[:, None]) + threshold
    hinge = F.relu(lead).scatter(1, y[:, None], 0)
    return mix * hinge.amax(1).mean() + (1 - mix) * hinge.mean()


@dataclass(frozen=True, slots=True, kw_only=True)
class LinfDistTraining:
    """The growing p, the hinge loss and the l_p weight decay of one training run."""

    model: LinfDist
    weight_decay: float
    steps: int
    """Steps of the whole run."""
    threshold: float
    """The hinge's threshold: what certifies a margin against the radius of training."""

    @classmethod
    def of(cls, model: nn.Module, config: TrainConfig, steps: int) -> "LinfDistTraining":
        """The hooks of a run of `steps` steps; the config has refused all other nets."""
        assert isinstance(model, LinfDist)
        return cls(
            model=model,
            weight_decay=config.optimizer.weight_decay,
            steps=steps,
            threshold=2 * EPS_TRAIN * model.lipschitz,
        )

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """The mixed hinge, a scalar."""
        return hinge_mix(logits, y, threshold=self.threshold)

    def before_step(self, done: int) -> None:
        """Raise p to its value after `done` steps."""
        self.model.set_p(p_at(done / self.steps))

    def before_update(self, lr: float) -> None:
        """Decay the weights, each neuron's by themselves."""
        self.model.decay(lr * self.weight_decay)

    def finish(self) -> None:
        """Make p infinite, without which the certificate does not hold."""
        self.model.set_p(p_at(1.0))
