"""Certificates of smoothed nets (Cohen et al. 2019), in l_2.

They speak of the vote of infinitely many noisy copies, and each is wrong with probability alpha at
most.
"""

from dataclasses import replace
from math import nan

import torch
from torch import Tensor, nn

from fftune.config import SmoothingConfig
from fftune.defenses.smoothing import votes
from fftune.keyed_noise import Noise

ALPHA = 0.001
"""Probability of a wrong certificate, at most (Cohen et al. 2019, sec. 4)."""
SELECTION = 100
"""Number of copies that choose the class to certify, n_0 in the paper."""


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
