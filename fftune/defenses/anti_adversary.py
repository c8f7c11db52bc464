"""Anti-adversary: steps that make a net surer of what it says, attacked or not."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fftune.config import AntiAdversaryConfig
from fftune.defenses.spec import Defense, DefenseSpec
from fftune.keyed_noise import Noise


def anti_adversary(model: nn.Module, x: Tensor, *, config: AntiAdversaryConfig) -> Tensor:
    """Descend the cross-entropy of the net's own answer by sign steps (Alfarra et al. 2022).

    It does to an image what a false friend does, for the label that the net gives it: where Hedge
    Defense climbs the losses of all classes, whichever is predicted, this descends that of one.

    Args:
        model: takes (B, C, H, W) in [0, 1], returns (B, K) logits; used in the mode it is in.
        x: (B, C, H, W) float, pixels in [0, 1], attacked or not.

    Returns:
        (B, C, H, W), detached. `x` and the model's parameter gradients are left as they were.
    """
    x_anti, said = x.detach(), None
    for _ in range(config.steps):
        leaf = x_anti.clone().requires_grad_(True)
        with torch.enable_grad():
            logits: Tensor = model(leaf)
            said = logits.argmax(1) if said is None else said
            loss = F.cross_entropy(logits, said, reduction="sum")
            (grad,) = torch.autograd.grad(loss, leaf)
        x_anti = x_anti - config.step_size * grad.sign()
        x_anti = x_anti.clamp(0, 1) if config.clamp else x_anti
    return x_anti


@dataclass(frozen=True, slots=True, kw_only=True)
class AntiAdversary(Defense):
    """Anti-adversary with its settings.

    Attackers take its derivative for the identity, which it is almost everywhere: sums of signs
    are constant there.
    """

    config: AntiAdversaryConfig

    def purify(self, model: nn.Module, x: Tensor, *, noise: Noise, ids: Tensor) -> Tensor:
        """`anti_adversary` with these settings."""
        return anti_adversary(model, x, config=self.config)

    @property
    def stochastic(self) -> bool:
        """False: equal images are changed alike."""
        return False

    @property
    def passes(self) -> int:
        """One pass for each step; the first one's also tells the net's own answer."""
        return self.config.steps

    @property
    def needs_gradients(self) -> bool:
        """True: every step takes one."""
        return True


ANTI_ADVERSARY = DefenseSpec(
    make=lambda config, _threat: AntiAdversary(config=config.anti_adversary), reads=()
)
