"""A net behind a defence, which is a net again: for defenders, and for attackers who know."""

from dataclasses import dataclass
from math import log
from typing import Any

import torch
from torch import Tensor, nn

from fftune.attacks.query_counter import BatchIndexed, index_batch
from fftune.config import HedgeConfig
from fftune.defenses.hedge import hedge
from fftune.keyed_noise import Noise


class Defended(BatchIndexed):
    """Predicts what a defence made of its input; gradients go straight through the defence.

    The defence's own derivative is taken for the identity (BPDA, Athalye et al. 2018), so that
    PGD on this net is algorithm 6 of Wu et al. 2021. With several `draws` it is the mixture of
    the nets that each draw makes: the logits are the log of their mean probability, whose
    cross-entropy is that of a randomised classifier (EOT, Athalye et al. 2018).
    """

    def __init__(
        self,
        model: nn.Module,
        config: HedgeConfig,
        *,
        noise: Noise,
        ids: Tensor,
        draws: int = 1,
        fresh: bool = False,
    ) -> None:
        """Defend the examples `ids`.

        Args:
            noise: the defender's branch; for attackers, one of their own.
            ids: (B,) int64, of the batch that this net will be given.
            fresh: draw anew in every forward; else each gives the same answer.
        """
        super().__init__()
        self.model = model
        self.config = config
        self.noise = noise
        self.ids = ids
        self.draws = draws
        self.fresh = fresh
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        parts = [self._once(x, self._noise(draw)) for draw in range(self.draws)]
        self.calls += 1
        if len(parts) == 1:
            return parts[0]
        return torch.stack([part.log_softmax(1) for part in parts]).logsumexp(0) - log(len(parts))

    def select(self, rows: Tensor) -> "Defended":
        """The same net for some rows of the batch; rows may repeat."""
        part = Defended(
            index_batch(self.model, rows),
            self.config,
            noise=self.noise,
            ids=self.ids[rows.cpu()],
            draws=self.draws,
            fresh=self.fresh,
        )
        part.calls = self.calls
        return part

    def _noise(self, draw: int) -> Noise:
        return self.noise.fold(self.calls, draw) if self.fresh else self.noise

    def _once(self, x: Tensor, noise: Noise) -> Tensor:
        x_hed = hedge(self.model, x.detach(), config=self.config, noise=noise, ids=self.ids)
        logits: Tensor = self.model(_StraightThrough.apply(x, x_hed))
        return logits


class _StraightThrough(torch.autograd.Function):
    """`x_hed` on the way there, the identity on the way back."""

    @staticmethod
    def forward(_ctx: Any, _x: Tensor, x_hed: Tensor) -> Tensor:
        return x_hed

    @staticmethod
    def backward(_ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveAccess:
    """How an attacker who knows of a defence asks a net: behind it."""

    defense: HedgeConfig
    draws: int = 1
    """Over which each gradient is taken."""
    known: int | None = None
    """Which of the defender's draws the attacker has got hold of; none draws its own."""

    def wrap(self, model: nn.Module, *, ids: Tensor, noise: Noise, defender: Noise) -> Defended:
        """`model` behind the defence.

        Args:
            noise: the attacker's branch.
            defender: the defender's, of which only a known draw is read.
        """
        if self.known is not None:
            return Defended(model, self.defense, noise=defender.fold(self.known), ids=ids)
        mine = noise.fold("aware")
        return Defended(model, self.defense, noise=mine, ids=ids, draws=self.draws, fresh=True)
