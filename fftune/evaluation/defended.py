"""The same perturbed examples, scored again under every draw of every defence."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fftune.config import Defense, DefenseConfig, HedgeConfig, ThreatModel, config_hash
from fftune.defenses import hedge
from fftune.keyed_noise import Noise

CLEAN = "clean"
"""The attack that does nothing: natural accuracy under a defence, and the control."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DefendedPrediction:
    """What one draw of a defence came to on a block."""

    defense: Defense
    config: HedgeConfig
    repeat: int
    pred: Tensor
    """(B,) int64."""
    counts: Tensor
    """(4, B) int64, as of an attack: forwards, backwards, queries, gradients that were zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DefenseSet:
    """Defences, and the noise that only the defender knows."""

    hedges: dict[Defense, HedgeConfig]
    repeats: int
    control: int
    """Draws of the control: as many as the battery has attacks, on clean examples."""
    noise: Noise
    draws: int
    """That an attacker averages over; see `DefenseConfig`."""

    @classmethod
    def of(
        cls, config: DefenseConfig, threat: ThreatModel, *, source: str, split: str, attacks: int
    ) -> "DefenseSet | None":
        """The guard of a data set's split; None where no defence is named."""
        hedges = config.hedges(threat)
        if not hedges:
            return None
        return cls(
            hedges=hedges,
            repeats=config.repeats,
            control=max(attacks, config.repeats),
            # The attackers' branches begin with the data set's name and are shorter.
            noise=Noise(config.seed).fold("defense", source, split),
            draws=config.draws,
        )

    def verdicts(
        self, net: nn.Module, x: Tensor, ids: Tensor, repeats: int, *, surrogate: nn.Module
    ) -> Iterator[DefendedPrediction]:
        """Predictions on (B, C, H, W) inputs of the examples `ids`, under so many draws of each.

        A draw is keyed by its repeat and the example's id alone: all attacks meet the same one,
        so that their worst case is one against one defence, not against its unluckiest draw.
        """
        for name, config in self.hedges.items():
            for repeat in range(repeats):
                noise = self.noise.fold(repeat)
                pred = predict(net, x, surrogate=surrogate, config=config, noise=noise, ids=ids)
                passes = (config.steps + 1, config.steps, 1, 0)
                yield DefendedPrediction(
                    defense=name,
                    config=config,
                    repeat=repeat,
                    pred=pred,
                    counts=torch.tensor(passes)[:, None].expand(4, len(ids)),
                )


def predict(
    net: nn.Module,
    x: Tensor,
    *,
    surrogate: nn.Module,
    config: HedgeConfig,
    noise: Noise,
    ids: Tensor,
) -> Tensor:
    """(B,) int64: what the net says of inputs after a defence, which follows the twin's slopes."""
    x_hed = hedge(surrogate, x, config=config, noise=noise, ids=ids)
    with torch.no_grad():
        logits: Tensor = net(x_hed)
    return logits.argmax(1)


def defended_hash(attack: Any, verdict: DefendedPrediction) -> str:
    """Names the settings of an attack and of the defence that it was scored under."""
    return config_hash(_Both(attack=attack, defense=verdict.config))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Both:
    attack: Any
    defense: HedgeConfig
