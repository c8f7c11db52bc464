"""Adaptive attackers: nets behind a defense, through which gradients can be taken."""

from dataclasses import dataclass
from math import log
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fftune.attacks.query_counter import BatchIndexed, index_batch
from fftune.defenses.spec import Defense, answered, purified
from fftune.keyed_noise import ExampleNoise, Noise

Averaging = Literal["probabilities", "losses"]
"""Quantity that an attacker averages over draws of a defense; see `AdaptiveAccess.averaging`."""


class Defended(BatchIndexed):
    """Net behind a defense; gradients pass through the defense.

    The derivative of a defense that is not `differentiable` is taken for the identity (BPDA,
    Athalye et al. 2018): where it changes inputs, PGD on this net is algorithm 6 of Wu et al. 2021;
    where it wraps the net, gradients are the bare net's. With several
    `draws` it is the mixture of the nets that each draw makes: the logits are the log of their
    mean probability, whose cross-entropy is that of a randomised classifier (EOT, Athalye et al.
    2018). Averaging "losses", it answers a search with the logits of each draw instead.
    """

    def __init__(
        self,
        model: nn.Module,
        defense: Defense,
        *,
        noise: ExampleNoise,
        draws: int = 1,
        fresh: bool = False,
        averaging: Averaging = "probabilities",
    ) -> None:
        """Defend the examples of a batch.

        Args:
            noise: the defender's randomness, for the examples that this net will be given; for
                attackers, a branch of their own.
            draws: random draws of the defense, which are averaged.
            fresh: draw anew in every forward pass; else each gives the same answer.
            averaging: see `AdaptiveAccess.averaging`.
        """
        super().__init__()
        self.model = model
        self.defense = defense
        self.noise = noise
        self.draws = draws
        self.fresh = fresh
        self.averaging = averaging
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        drawn = self._drawn(x)
        if len(drawn) == 1:
            return drawn[0]
        return torch.stack([logits.log_softmax(1) for logits in drawn]).logsumexp(0) - log(
            self.draws
        )

    def answers(self, x: Tensor) -> list[Tensor]:
        """(B, K) logits of each draw where losses are averaged; else those of their mixture."""
        return self._drawn(x) if self.averaging == "losses" else [self(x)]

    def select(self, rows: Tensor) -> "Defended":
        """The same net for some rows of the batch; rows may repeat."""
        part = Defended(
            index_batch(self.model, rows),
            self.defense,
            noise=self.noise.select(rows),
            draws=self.draws,
            fresh=self.fresh,
            averaging=self.averaging,
        )
        part.calls = self.calls
        return part

    def _drawn(self, x: Tensor) -> list[Tensor]:
        drawn = [self._once(x, self._noise(draw)) for draw in range(self.draws)]
        self.calls += 1
        return drawn

    def _noise(self, draw: int) -> ExampleNoise:
        return self.noise.fold(self.calls, draw) if self.fresh else self.noise

    def _once(self, x: Tensor, noise: ExampleNoise) -> Tensor:
        defense, model = self.defense, self.model
        if defense.differentiable:
            return answered(defense, model, x, noise)
        if defense.wrap is None:
            x_def = purified(defense, model, x.detach(), noise)
            logits: Tensor = model(_StraightThrough.apply(x, x_def))
        else:
            bare = model(x)
            logits = _StraightThrough.apply(bare, answered(defense, model, x.detach(), noise))
        return logits


class _StraightThrough(torch.autograd.Function):
    """The second argument in the forward pass, the identity of the first in the backward pass."""

    @staticmethod
    def forward(_ctx: Any, _of: Tensor, value: Tensor) -> Tensor:
        return value

    @staticmethod
    def backward(_ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveAccess:
    """Access of an adaptive attacker, who queries and differentiates the net behind its defense."""

    defense: Defense
    draws: int = 1
    """Random draws of the defense that each gradient averages over (EOT)."""
    averaging: Averaging = "probabilities"
    """Quantity that is averaged over the draws of a gradient. "probabilities": the loss is that of
    the mean probabilities, as a randomised classifier has it. "losses": loss and gradient are the
    means of each draw's own, as Croce et al. 2022 attack Hedge Defense; a point is a success where
    it is one in most draws. Searches that follow boundaries meet the mixture in either case."""
    cheaply: bool = False
    """Searches through `Defense.cheaper`, where there is one."""
    leaked_draw: int | None = None
    """Index of the defender's random draw that is leaked to the attacker; None: it samples its own
    (EOT)."""

    @property
    def searched(self) -> Defense:
        """The defense that the attacker searches through: a cheaper one, a surrogate, or itself."""
        cheaper = self.defense.cheaper if self.cheaply else None
        return cheaper or self.defense.surrogate or self.defense

    def wrap(self, model: nn.Module, *, noise: ExampleNoise, defender: Noise) -> Defended:
        """Put `model` behind the defense.

        Args:
            noise: the attacker's randomness, for the examples of the batch.
            defender: the defender's, of which only a leaked draw is read.
        """
        if self.leaked_draw is not None:
            leaked = ExampleNoise(defender.fold(self.leaked_draw), noise.ids)
            return Defended(model, self.searched, noise=leaked)
        mine = noise.fold("aware")
        return Defended(
            model,
            self.searched,
            noise=mine,
            draws=self.draws,
            fresh=True,
            averaging=self.averaging,
        )
