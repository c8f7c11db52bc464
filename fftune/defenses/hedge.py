"""Hedge Defense: PGD that climbs the loss of all classes at once."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from fftune.attacks import pgd
from fftune.attacks.losses import all_classes
from fftune.attacks.query_counter import index_batch
from fftune.config import AttackConfig, Goal, HedgeConfig
from fftune.defenses.spec import Defense, DefenseSpec
from fftune.errors import ModelError
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.models.fits import connected_logits

CHEAPER_STEPS = 5
"""Steps of the hedge that strong attackers differentiate (Croce et al. 2022 attack one of 20)."""


def hedge(model: nn.Module, x: Tensor, *, config: HedgeConfig, noise: Noise, ids: Tensor) -> Tensor:
    """Move inputs to where the losses of all classes sum highest (Wu et al. 2021, alg. 1).

    Every input is moved, attacked or not. With 0 steps it is the paper's uniform random
    perturbation, to the bit; `classes="one"` is its algorithm 4.

    Args:
        model: takes (B, C, H, W) in [0, 1], returns (B, K) logits; used in the mode it is in.
        x: (B, C, H, W) float, pixels in [0, 1], attacked or not.
        noise: the defender's randomness, which attackers do not know.
        ids: (B,) int64, the examples' ids, which key the random start.

    Returns:
        (B, C, H, W) inside `config.threat`, detached. `x` and the model's parameter
        gradients are left as they were.
    """
    search = AttackConfig(
        threat=config.threat,
        steps=config.steps,
        step_size=config.step_length,
        start=config.start,
    )
    goal: Goal = "hedge"
    y = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    if config.classes == "one" and config.steps and len(x):
        examples = ExampleNoise(noise, ids.to(x.device))
        goal, y = "adversarial", _drawn(model, x, config.steps, examples)
    x_hed: Tensor = pgd(
        model, x, y, config=search, goal=goal, loss=config.loss, noise=noise, ids=ids
    )
    return x_hed


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedge(Defense):
    """Hedge Defense with its settings; without steps, uniform random noise.

    Its steps follow gradients, whose own derivative attackers take for the identity.
    """

    config: HedgeConfig

    def purify(self, model: nn.Module, x: Tensor, *, noise: Noise, ids: Tensor) -> Tensor:
        """`hedge` with these settings."""
        return hedge(model, x, config=self.config, noise=noise, ids=ids)

    @property
    def passes(self) -> int:
        """One pass for each step."""
        return self.config.steps

    @property
    def needs_gradients(self) -> bool:
        """True where it takes steps."""
        return self.config.steps > 0

    @property
    def cheaper(self) -> "Hedge":
        """The same with at most `CHEAPER_STEPS` steps."""
        steps = min(self.config.steps, CHEAPER_STEPS)
        return Hedge(config=replace(self.config, steps=steps))


BALL, CLIMB = ("norm", "eps_d", "clamp"), ("steps", "step_size")


def _made(*reads: str, **changes: Any) -> DefenseSpec:
    return DefenseSpec(
        make=lambda config, threat: Hedge(config=replace(config.hedge(threat), **changes)),
        reads=reads,
    )


HEDGE = _made(*BALL, *CLIMB)
HEDGE_ONE_CLASS = _made(*BALL, *CLIMB, classes="one")
RANDOM = _made(*BALL, steps=0)


def refuse_without_gradients(model: nn.Module, x: Tensor) -> None:
    """Refuse nets without gradients, for which a hedge would be mere random noise.

    Args:
        x: (B, C, H, W), a few examples.

    Raises:
        ModelError: the logits do not depend on the input by differentiable operations, or the
            gradient is zero for every example.
    """
    connected = connected_logits(model, x)
    if connected is None:
        raise ModelError("net has no input gradients: Hedge Defense cannot follow them")
    leaf, logits = connected
    with torch.enable_grad():
        (grad,) = torch.autograd.grad(all_classes(logits).sum(), leaf, materialize_grads=True)
    if not bool(grad.any()):
        raise ModelError("net's input gradients are zero: Hedge Defense cannot follow them")


def _drawn(model: nn.Module, x: Tensor, steps: int, noise: ExampleNoise) -> Tensor:
    """(B, steps) int64, a class for each example and step."""
    with torch.no_grad():
        first = index_batch(model, torch.zeros(1, dtype=torch.int64, device=x.device))
        classes = int(first(x[:1]).shape[1])
    return (noise.fold("classes").uniform((steps,)) * classes).long()
