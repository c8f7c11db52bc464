"""Scoring of perturbed examples under every random draw of every defence."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fftune.config import DefenseConfig, ThreatModel, config_hash
from fftune.defenses import Defense, defenses_of
from fftune.defenses.spec import purified
from fftune.keyed_noise import ExampleNoise, Noise

CLEAN = "clean"
"""Name of the attack that does nothing: natural accuracy under a defence, and the control."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DefendedPrediction:
    """Predictions of a block under one random draw of a defence."""

    name: str
    """Name of the defence in rows."""
    defense: Defense
    repeat: int
    """Index of the draw."""
    pred: Tensor
    """(B,) int64."""
    counts: Tensor
    """(4, B) int64: forwards, backwards, queries, gradients that were zero, for each example."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DefenseSet:
    """Defences of an evaluation, and the noise that only the defender knows."""

    defenses: dict[str, Defense]
    """Defences by their names in rows."""
    repeats: int
    """Random draws of each defence."""
    control: int
    """Draws of the control on clean examples: as many as the battery has attacks."""
    noise: Noise
    """The defender's randomness."""
    draws: int
    """Draws that an adaptive attacker averages over; see `DefenseConfig`."""

    @classmethod
    def of(
        cls, config: DefenseConfig, threat: ThreatModel, *, source: str, split: str, attacks: int
    ) -> "DefenseSet | None":
        """Build the defences of a data set's split; None where none is named.

        Args:
            source: name of the data set.
            attacks: number of attacks of the battery.
        """
        defenses = defenses_of(config, threat)
        if not defenses:
            return None
        return cls(
            defenses=defenses,
            repeats=config.repeats,
            control=max(attacks, config.repeats),
            # The attackers' branches begin with the data set's name and are shorter.
            noise=Noise(config.seed).fold("defense", source, split),
            draws=config.draws,
        )

    def predictions(
        self, net: nn.Module, x: Tensor, ids: Tensor, repeats: int, *, surrogate: nn.Module
    ) -> Iterator[DefendedPrediction]:
        """Predict (B, C, H, W) inputs of the examples `ids`, under `repeats` draws of each defence.

        A draw is keyed by its repeat and the example's id alone: all attacks meet the same one,
        so that their worst case is one against one defence, not against its unluckiest draw.
        """
        for name, defense in self.defenses.items():
            taken = defense.passes if defense.needs_gradients else 0
            passes = (defense.passes + 1, taken, 1 + defense.passes - taken, 0)
            for repeat in range(repeats):
                noise = ExampleNoise(self.noise.fold(repeat), ids)
                pred = predict(net, x, surrogate=surrogate, defense=defense, noise=noise)
                yield DefendedPrediction(
                    name=name,
                    defense=defense,
                    repeat=repeat,
                    pred=pred,
                    counts=torch.tensor(passes)[:, None].expand(4, len(ids)),
                )


def predict(
    net: nn.Module,
    x: Tensor,
    *,
    surrogate: nn.Module,
    defense: Defense,
    noise: ExampleNoise,
) -> Tensor:
    """(B,) int64, the net's predictions of purified inputs; purifying asks the surrogate."""
    x_def = purified(defense, surrogate, x, noise)
    with torch.no_grad():
        logits: Tensor = net(x_def)
    return logits.argmax(1)


def defended_hash(attack: Any, drawn: DefendedPrediction) -> str:
    """Hash of the settings of an attack and of the defence that it was scored under."""
    return config_hash(_Both(attack=attack, defense=drawn.defense))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Both:
    attack: Any
    defense: Defense
