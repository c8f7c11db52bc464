"""Lambdas of a batch, for objectives that train one net for all of them."""

from math import log1p

import torch
from torch import Tensor

from fftune.config import LambdaDraws
from fftune.keyed_noise import Noise


def drawn_lambdas(noise: Noise, ids: Tensor, draws: LambdaDraws, *, top: float) -> Tensor:
    """(B,) float32: the weight lambda of each example of a batch; see `LambdaDraws`.

    Which example has which depends on the branch of the noise and on the ids of the batch.

    Args:
        noise: the branch of an epoch.
        ids: (B,) int64.
        top: the greatest lambda.
    """
    place, within = noise.fold("lambda").uniform(ids, (2,)).double().unbind(1)
    rank = place.argsort(stable=True).argsort()
    size, clean = len(ids), draws.clean_rows(len(ids))
    between = size - clean - round(draws.tops * size)
    share = ((rank - clean + within) / max(between, 1)).clamp(0, 1)
    lam = torch.expm1(share * log1p(top))
    lam = torch.where(rank >= clean + between, top, lam)
    return torch.where(rank < clean, 0.0, lam).float()
