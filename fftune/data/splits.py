"""Disjoint parts of a data set in which every class has its share."""

from collections.abc import Mapping
from typing import TypeVar

import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

from fftune.errors import DataError

Name = TypeVar("Name", bound=str)


def stratified(
    y: Tensor, sizes: Mapping[Name, int], *, rest: Name, seed: int
) -> dict[Name, Tensor]:
    """Positions of each part; `rest` takes all that the sizes leave. Equal seeds, equal parts.

    Args:
        y: (N,) int64, the classes.

    Raises:
        DataError: the sizes leave too little for a part to hold every class.
    """
    left, parts = torch.arange(len(y)), {}
    classes = len(y.unique())
    if min(*sizes.values(), len(y) - sum(sizes.values())) < classes:
        wanted = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise DataError(f"{len(y)} examples of {classes} classes cannot be split into {wanted}")
    for name, size in sizes.items():
        kept, taken = train_test_split(
            left.numpy(), test_size=size, stratify=y[left].numpy(), random_state=seed
        )
        left, parts[name] = torch.from_numpy(kept), torch.from_numpy(taken)
    return {**parts, rest: left}
