"""Scoring of perturbed examples under every random draw of every defense."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fftune.attacks.search_state import checked_before
from fftune.config import DefenseConfig, ThreatModel, config_hash
from fftune.config.defense import CHOICES, SEARCH_STEPS, SEARCH_TARGETS
from fftune.defenses import Defense, Hedge, defenses_of, refuse_without_gradients
from fftune.defenses.spec import answered, purified, require_finite
from fftune.errors import ConfigError, ModelError
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.models.fits import has_gradients
from fftune.models.verdict import pieces

CLEAN = "clean"
"""Name of the attack that does nothing: natural accuracy under a defense, and the control."""
RANDOM_START = "random-start"
"""Name of the attack that takes no step from a uniform point of the ball: another control."""
CONTROLS = (CLEAN, RANDOM_START)
"""Names of what is no attack: it shows what noise alone does, and resubmitting anything."""
WRAPPED_ON = 4
"""Images that a wrapped net is tried on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DefendedPrediction:
    """Predictions of a block under one random draw of a defense."""

    name: str
    """Name of the defense in rows."""
    defense: Defense
    repeat: int
    """Index of the draw."""
    pred: Tensor
    """(B,) int64."""
    counts: Tensor
    """(4, B) int64: forwards, backwards, queries, gradients that were zero, for each example."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Length of the strongest adaptive attack; see `DefenseConfig`."""

    steps: int = SEARCH_STEPS
    targets: int = SEARCH_TARGETS
    choices: int = CHOICES


@dataclass(frozen=True, slots=True, kw_only=True)
class DefenseSet:
    """Defenses of an evaluation, and the noise that only the defender knows."""

    defenses: dict[str, Defense]
    """Defenses by their names in rows."""
    repeats: int
    """Random draws of each defense that attacks are judged under, m: draws 0 to m - 1."""
    control: int
    """Draws of clean examples: as many as the battery has attacks, and 2 m at least. Draws m to
    2 m - 1 alone tell whose mistakes are whose; no attack is judged under them."""
    noise: Noise
    """The defender's randomness."""
    draws: int
    """Draws that an adaptive attacker averages over; see `DefenseConfig`."""
    effort: Effort = field(default_factory=Effort)

    @classmethod
    def of(
        cls, config: DefenseConfig, threat: ThreatModel, *, source: str, split: str, attacks: int
    ) -> "DefenseSet | None":
        """Build the defenses of a data set's split; None where none is named.

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
            control=max(attacks, 2 * config.repeats),
            # The attackers' branches begin with the data set's name and are shorter.
            noise=Noise(config.seed).fold("defense", source, split),
            draws=config.draws,
            effort=Effort(
                steps=config.search_steps,
                targets=config.search_targets,
                choices=config.choices,
            ),
        )

    def scored(self, attack: str) -> int:
        """Draws of each defense that an attack's examples are scored under, by its name."""
        return self.control if attack == CLEAN else self.repeats

    def passes(self, attack: str) -> int:
        """Forward passes of an example that its scoring takes, by the attack's name."""
        drawn = self.scored(attack)
        return sum(
            (defense.passes + 1) * (drawn if defense.stochastic else 1)
            for defense in self.defenses.values()
        )

    def predictions(
        self,
        net: nn.Module,
        x: Tensor,
        ids: Tensor,
        repeats: int,
        *,
        first: int = 0,
        piece: int | None = None,
    ) -> Iterator[DefendedPrediction]:
        """Predict (B, C, H, W) inputs of the examples `ids`, under `repeats` draws of each defense.

        A draw is keyed by its repeat and the example's id alone: all attacks meet the same one,
        so that their worst case is one against one defense, not against its unluckiest draw.

        Args:
            net: untouched; the defense asks it too, as its steps are part of the verdict.
            first: index of the first draw.
            piece: as in `models.verdict.pieces`.
        """
        for name, defense in self.defenses.items():
            taken = defense.passes if defense.needs_gradients else 0
            passes = (defense.passes + 1, taken, 1 + defense.passes - taken, 0)
            pred: Tensor | None = None
            for repeat in range(first, first + repeats):
                noise = ExampleNoise(self.noise.fold(repeat), ids)
                if pred is None or defense.stochastic:
                    with checked_before():  # pixels were checked with the data, or by the attack
                        pred = predict(net, x, defense=defense, noise=noise, piece=piece)
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
    defense: Defense,
    noise: ExampleNoise,
    piece: int | None = None,
) -> Tensor:
    """(B,) int64, what the net predicts behind a defense, which asks that very net.

    Args:
        piece: as in `models.verdict.pieces`.

    Raises:
        ConfigError: the logits are not finite, or see `answered`.
    """
    logits = _in_pieces(partial(answered, defense, net), x, noise, piece)
    require_finite(defense, logits)
    return logits.argmax(1)


def purify(
    net: nn.Module,
    x: Tensor,
    *,
    defense: Defense,
    noise: ExampleNoise,
    piece: int | None = None,
) -> Tensor:
    """(B, C, H, W) inputs that a defense has purified, asking the net as verdicts do.

    Args:
        piece: as in `models.verdict.pieces`.
    """
    return _in_pieces(partial(purified, defense, net), x, noise, piece)


def _in_pieces(
    ask: Callable[[Tensor, ExampleNoise], Tensor], x: Tensor, noise: ExampleNoise, piece: int | None
) -> Tensor:
    """Answers to the parts of a batch, put together; see `models.verdict.pieces`."""
    found, done = [], 0
    with pieces(x, piece) as parts:
        for part, rows in parts:
            ids = noise.ids[done : done + rows]
            ids = torch.cat([ids, ids.new_zeros(len(part) - rows)])
            found.append(ask(part, ExampleNoise(noise.noise, ids))[:rows].detach())
            done += rows
    return found[0] if len(found) == 1 else torch.cat(found)


def refuse_misfits(defense_set: DefenseSet, net: nn.Module, x: Tensor, classes: int) -> None:
    """Refuse, in one line, a net that a defense cannot follow, or a defense that is no such net.

    Args:
        net: untouched, frozen.
        x: (B, C, H, W), a few images.
        classes: number of classes of the data set.

    Raises:
        ModelError: a defense is to follow gradients that the net does not have.
        ConfigError: a wrapped net returns what are no logits of these classes.
    """
    for name, defense in defense_set.defenses.items():
        if isinstance(defense, Hedge) and defense.needs_gradients:
            refuse_without_gradients(net, x)
        elif defense.needs_gradients and not has_gradients(net, x):
            raise ModelError(f"net has no input gradients: defense {name!r} cannot follow them")
        if defense.wrap is None:
            continue
        few = x[:WRAPPED_ON]
        noise = ExampleNoise(defense_set.noise, torch.arange(len(few)))
        for one in filter(None, (defense, defense.surrogate)):
            told = answered(one, net, few, noise).shape[1]
            if told != classes:
                rule = f"must tell the data's {classes} classes apart, got {told}"
                raise ConfigError(f"defense {name!r} {rule}")


def defended_hash(attack: Any, drawn: DefendedPrediction) -> str:
    """Hash of the settings of an attack and of the defense that it was scored under."""
    return config_hash(_Both(attack=attack, defense=drawn.defense))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Both:
    attack: Any
    defense: Defense
