"""Subsets of a split, chosen the same way by every command."""

import torch
from torch import Tensor

from fftune.config import DataSpec, Split
from fftune.data.catalog import place_framed
from fftune.data.dataset import Dataset
from fftune.errors import ConfigError


def sample(data: DataSpec | Dataset, split: Split | None, examples: int | None) -> Dataset:
    """Draw examples of a split, evenly spread over its ids, as many sets are sorted by class.

    Args:
        examples: how many, which alone are decoded; None: all.
    """
    return sampled(data, split, examples)[0]


def sampled(
    data: DataSpec | Dataset, split: Split | None, examples: int | None
) -> tuple[Dataset, int]:
    """Draw examples as `sample` does; return them and the size of the split.

    Raises:
        DataError: the data are missing.
        ConfigError: a data set in memory is another split than asked for.
    """
    if isinstance(data, Dataset):
        if split not in (None, data.split):
            raise ConfigError(f"split must be {data.split!r}, as the examples are, got {split!r}")
        few = _spread(len(data), examples)
        return data if few is None else data.select(few, data.split), len(data)
    part, rows = place_framed(data, split or "test")
    few = _spread(len(rows), examples)
    return part.read(rows if few is None else rows[few], split or "test"), len(rows)


def _spread(available: int, count: int | None) -> Tensor | None:
    """(count,) int64 positions, evenly spread; None: all of them."""
    if count is None or count >= available:
        return None
    return torch.arange(count) * available // count
