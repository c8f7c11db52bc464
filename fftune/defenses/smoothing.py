"""Randomised smoothing: the majority of a net's answers to noisy copies (Cohen et al. 2019).

Certificates speak of the vote of infinitely many copies, in l_2.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import log, nan
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fftune.config import SmoothingConfig
from fftune.defenses.spec import Defense, DefenseSpec
from fftune.keyed_noise import Noise

ALPHA = 0.001
"""Probability of a wrong certificate, at most (Cohen et al. 2019, sec. 4)."""
SELECTION = 100
"""Number of copies that choose the class to certify, n_0 in the paper."""


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


def certified_radius(given: int, cast: int, *, sigma: float, alpha: float = ALPHA) -> float:
    """Radius in l_2 within which a smoothed net keeps its answer (Cohen et al. 2019, theorem 1).

    sigma Phi^-1(p), where p is the lower end of the exact interval, at level 1 - alpha, of how
    often the net says the class of noisy copies (Clopper & Pearson 1934).

    Args:
        given: votes for the class, which other votes must have chosen.
        cast: votes in all.
        sigma: standard deviation of the noise.
        alpha: probability that p is too large, at most.

    Returns:
        The radius, in pixels of [0, 1]; nan where p is no majority: the certificate abstains.
    """
    from scipy.special import betaincinv, ndtri  # scipy.stats has both, and takes a second

    least = float(betaincinv(given, cast - given + 1, alpha)) if given else 0.0
    return sigma * float(ndtri(least)) if least > 0.5 else nan


def certify(
    model: nn.Module,
    x: Tensor,
    *,
    config: SmoothingConfig,
    noise: Noise,
    ids: Tensor,
    alpha: float = ALPHA,
) -> tuple[Tensor, Tensor]:
    """Certify the answers of a smoothed net (Cohen et al. 2019, CERTIFY).

    Arguments are those of `votes` and `certified_radius`; `SELECTION` more copies choose the class.

    Returns:
        (B,) int64, the class; (B,) float64, the radius within which it is the answer, nan where the
        certificate abstains. Each row is wrong with probability alpha at most.
    """
    few = replace(config, votes=SELECTION)
    pred = votes(model, x, config=few, noise=noise.fold("select"), ids=ids).argmax(1)
    cast = votes(model, x, config=config, noise=noise.fold("certify"), ids=ids)
    radii = [
        certified_radius(given, config.votes, sigma=config.sigma, alpha=alpha)
        for given in cast.gather(1, pred[:, None]).flatten().tolist()
    ]
    return pred, torch.tensor(radii, dtype=torch.float64)


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
