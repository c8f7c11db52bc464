"""Randomised smoothing: the majority of a net's answers to noisy copies (Cohen et al. 2019).

`fftune.certified.smoothing` certifies it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import log
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fftune.config import SmoothingConfig
from fftune.defenses.spec import Defense, DefenseSpec
from fftune.keyed_noise import Noise


def votes(
    model: nn.Module, x: Tensor, *, config: SmoothingConfig, noise: Noise, ids: Tensor
) -> Tensor:
    """(B, K) int64, of how many noisy copies of an image a net says each class.

    Args:
        model: takes (B, C, H, W) in [0, 1] and beyond, as noise is not clamped; returns (B, K)
            logits.
        x: (B, C, H, W), pixels in [0, 1].
        ids: (B,) int64, the examples' ids, which key the noise of each copy.
    """
    with torch.no_grad():
        copies = _answers(model, x, config, noise, ids)
        said = [F.one_hot(logits.argmax(1), logits.shape[1]) for logits in copies]
    return torch.stack(said).sum(0)


def log_mean_probabilities(
    model: nn.Module, x: Tensor, *, config: SmoothingConfig, noise: Noise, ids: Tensor
) -> Tensor:
    """(B, K), the logarithm of a net's mean probabilities over noisy copies, which has a gradient.

    Arguments are those of `votes`, and so are the copies.
    """
    copies = _answers(model, x, config, noise, ids)
    said = torch.stack([logits.log_softmax(1) for logits in copies])
    return said.logsumexp(0) - log(len(said))


def _answers(
    model: nn.Module, x: Tensor, config: SmoothingConfig, noise: Noise, ids: Tensor
) -> Iterator[Tensor]:
    """(B, K) logits of each noisy copy, whose noise is drawn where the images lie."""
    ids = ids.to(x.device)
    for copy in range(config.votes):
        drawn = noise.fold("copy", copy).normal(ids, tuple(x.shape[1:]))
        yield model(x + config.sigma * drawn.to(x))


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoothing(Defense):
    """Randomised smoothing with its settings: a net around a net."""

    config: SmoothingConfig
    says: Literal["votes", "probabilities"] = "votes"
    """Its answer: a majority; or mean probabilities, whose gradient attackers take (Salman et al.
    2019)."""

    def wrap(self, model: nn.Module, x: Tensor, *, noise: Noise, ids: Tensor) -> Tensor:
        """(B, K), the logarithm of the votes, each class given one more, or of probabilities."""
        if self.says == "probabilities":
            return log_mean_probabilities(model, x, config=self.config, noise=noise, ids=ids)
        return (votes(model, x, config=self.config, noise=noise, ids=ids) + 1).to(x).log()

    @property
    def passes(self) -> int:
        """One pass for each copy, of which one counts as the prediction."""
        return self.config.votes - 1

    @property
    def differentiable(self) -> bool:
        """True where it says probabilities."""
        return self.says == "probabilities"

    @property
    def surrogate(self) -> "Smoothing | None":
        """Mean probabilities over fewer copies, the first ones, for a vote."""
        if self.differentiable:
            return None
        fewer = min(self.config.votes, self.config.attacker_votes)
        return Smoothing(config=replace(self.config, votes=fewer), says="probabilities")


SMOOTHING = DefenseSpec(make=lambda config, _threat: Smoothing(config=config.smoothing), reads=())
