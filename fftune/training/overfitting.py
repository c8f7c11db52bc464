"""Catastrophic overfitting: one-step training that suddenly robs a net of its robustness.

Wong et al. 2020, section 5.4, and their code: PGD on one training batch after every epoch; where
accuracy falls by more than a fifth, training ends and the epoch before counts.
"""

import copy
import logging
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fftune.attacks import pgd
from fftune.config import AttackConfig, TrainConfig
from fftune.data.dataset import Batch
from fftune.keyed_noise import Noise
from fftune.models import eval_mode
from fftune.objectives import find_objective
from fftune.training.distributed import ProcessGroup

log = logging.getLogger(__name__)
STEPS = 5
DROP = 0.2


@dataclass(kw_only=True)
class OverfittingWatch:
    """Evaluates a run under PGD after every epoch, on one training batch."""

    config: TrainConfig
    group: ProcessGroup
    batch: Batch | None = None
    """The training batch that is attacked."""
    robust: float = math.nan
    """Accuracy under PGD at the last look; nan before the first."""
    weights: dict[str, Tensor] = field(default_factory=dict)
    """Weights of the net at the last look."""

    @classmethod
    def of(cls, config: TrainConfig, group: ProcessGroup) -> "OverfittingWatch | None":
        """A watch for objectives with a one-step attack; None for others, which need none."""
        one_step = find_objective(config.objective).one_step
        return cls(config=config, group=group) if one_step else None

    def look(self, model: nn.Module, epoch: int) -> tuple[float, str]:
        """Accuracy under PGD on `batch`, and the reason to stop training, or "".

        If training has to stop, the net is given back the weights of the last look.
        """
        robust, before = self._accuracy(model), self.robust
        if robust < before - DROP:
            model.load_state_dict(self.weights)
            reason = (
                f"catastrophic overfitting in epoch {epoch}: PGD-{STEPS} accuracy on a training "
                f"batch fell from {before:.3f} to {robust:.3f}; the weights of epoch {epoch - 1} "
                "are kept"
            )
            log.warning(reason)
            return robust, reason
        self.robust, self.weights = robust, copy.deepcopy(model.state_dict())
        return robust, ""

    def _accuracy(self, model: nn.Module) -> float:
        assert self.batch is not None
        ids, x, y = self.batch
        config = AttackConfig(threat=self.config.attack.threat, steps=STEPS)
        noise = Noise(self.config.seed).fold("overfitting")
        with eval_mode(model), torch.no_grad():
            x_adv = pgd(
                model, x, y, config=config, goal="adversarial", loss="ce", noise=noise, ids=ids
            )
            right = (model(x_adv).argmax(1) == y).sum()
        counts = torch.stack([right, torch.full_like(right, len(y))])
        right, total = self.group.total(counts).tolist()
        return float(right / total)

    def state_dict(self) -> dict[str, Any]:
        """The state that a resumed run needs."""
        return {"robust": self.robust, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state of `state_dict`."""
        self.robust, self.weights = state["robust"], state["weights"]
