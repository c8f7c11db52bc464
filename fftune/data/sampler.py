"""Epoch order, and the share of it that each rank receives."""

import torch
from torch import Tensor

from fftune.errors import ConfigError
from fftune.keyed_noise import Noise


def epoch_order(count: int, noise: Noise, epoch: int, device: str | torch.device = "cpu") -> Tensor:
    """(count,) int64, the permutation of this epoch, the same on every device."""
    return noise.fold("order", epoch).permutation(count, device)


def share(order: Tensor, rank: int, ranks: int, *, pad: bool) -> tuple[Tensor, Tensor]:
    """Select the positions that one of `ranks` processes delivers, and mark its padding.

    Without padding every position is delivered once and shares differ by at most one; with it
    they are equal, as processes that wait for each other at every step need, and begin anew.

    Raises:
        ConfigError: there is no such rank.
    """
    if not 0 <= rank < ranks:
        raise ConfigError(f"rank must be in [0, {ranks}), got {rank}")
    mine = order[rank::ranks]
    missing = -(-len(order) // ranks) - len(mine) if pad else 0
    begin = rank % max(len(order), 1)
    padding = order[begin : begin + missing]
    marks = torch.arange(len(mine) + missing, device=order.device) >= len(mine)
    return torch.cat([mine, padding]), marks


def marked(ids: Tensor, padding: Tensor) -> Tensor:
    """Mark padding by negative ids, -1 - id; see `is_padding`."""
    return torch.where(padding, -1 - ids, ids)


def is_padding(ids: Tensor) -> Tensor:
    """(B,) bool, True for examples that were delivered before: no metric may count them again."""
    return ids < 0
