"""Which example comes when, and to whom."""

import torch
from torch import Tensor

from fftune.errors import ConfigError
from fftune.keyed_noise import Noise


def epoch_order(count: int, noise: Noise, epoch: int) -> Tensor:
    """(count,) int64, the permutation of this epoch."""
    return noise.fold("order", epoch).permutation(count)


def share(order: Tensor, rank: int, ranks: int, *, pad: bool) -> tuple[Tensor, Tensor]:
    """The positions that one of `ranks` processes delivers, and which of them are padding.

    Without padding every position is delivered once and shares differ by at most one; with it
    they are equal, as processes that wait for each other at every step need, and begin anew.

    Raises:
        ConfigError: there is no such rank.
    """
    if not 0 <= rank < ranks:
        raise ConfigError(f"rank must be in [0, {ranks}), got {rank}")
    mine = order[rank::ranks]
    missing = -(-len(order) // ranks) - len(mine) if pad else 0
    padding = order[torch.arange(missing) + rank % max(len(order), 1)] if missing else mine[:0]
    marks = torch.cat([torch.zeros(len(mine)), torch.ones(len(padding))]).to(torch.bool)
    return torch.cat([mine, padding]), marks


def marked(ids: Tensor, padding: Tensor) -> Tensor:
    """Ids in which padding is told by a negative one, -1 - id; see `is_padding`."""
    return torch.where(padding, -1 - ids, ids)


def is_padding(ids: Tensor) -> Tensor:
    """(B,) bool: examples that were delivered before, and that no metric may count again."""
    return ids < 0
