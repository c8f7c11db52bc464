"""Disjoint, stratified splits of a data set."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

from fftune.config import DataSpec, Split
from fftune.errors import DataError


def sized(spec: DataSpec, division: tuple[int, int] | None) -> DataSpec:
    """Fill in sizes that are not given, by a set's own division, if it has one.

    Without one a training size stays None, and `split_rows` decides.
    """
    train, validation = division or (None, 0)
    return replace(
        spec,
        train_size=train if spec.train_size is None else spec.train_size,
        validation_size=validation if spec.validation_size is None else spec.validation_size,
    )


def split_rows(y: Tensor, spec: DataSpec, *, official_test: bool) -> dict[Split, Tensor]:
    """Positions of `train` and `validation`, and of `test` if there is no official one.

    A set without official parts is `test` as a whole if no sizes are given.

    Args:
        y: (N,) int64, the true classes of the official training part, or of the whole set.

    Raises:
        DataError: a part cannot hold an example of every class.
    """
    sizes: dict[Split, int] = {"validation": spec.validation_size or 0}
    if spec.train_size is not None:
        sizes = {"train": spec.train_size, **sizes}
    elif not official_test:
        if not spec.validation_size:
            return {"test": torch.arange(len(y))}
        raise DataError(f"data.train_size: {spec.name!r} has no official test part; name a size")
    parts, left = stratified(y, sizes, seed=spec.split_seed)
    if not official_test:
        if len(left) < len(y.unique()):
            raise DataError(f"{_wanted(y, sizes)}, as {len(left)} are left for test")
        parts["test"] = left
    return {"train": left, **parts}


def stratified(
    y: Tensor, sizes: Mapping[Split, int], *, seed: int
) -> tuple[dict[Split, Tensor], Tensor]:
    """Positions of each part, and of all that is left. Equal seeds, equal parts.

    Args:
        y: (N,) int64, the classes.
        sizes: a part of none is empty; any other must hold every class.

    Raises:
        DataError: they are too large, too small, or a class has too few examples.
    """
    classes = len(y.unique())
    left, parts = torch.arange(len(y)), {}
    for name, size in sizes.items():
        if size not in (0, len(left)) and not classes <= size <= len(left) - classes:
            raise DataError(_wanted(y, sizes))
        parts[name], left = _draw(left, y, size, seed)
    return parts, left


def _draw(left: Tensor, y: Tensor, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """`size` of the positions in `left`, and the others."""
    if size in (0, len(left)):
        nothing = left[:0]
        return (nothing, left) if size == 0 else (left, nothing)
    try:
        kept, taken = train_test_split(
            left.numpy(), test_size=size, stratify=y[left].numpy(), random_state=seed
        )
    except ValueError as error:  # a class with a single example
        raise DataError(f"cannot be split by class: {error}") from None
    return torch.from_numpy(taken), torch.from_numpy(kept)


def _wanted(y: Tensor, sizes: Mapping[Split, int]) -> str:
    wanted = ", ".join(f"{name} {size}" for name, size in sizes.items())
    return f"{len(y)} examples of {len(y.unique())} classes cannot be split into {wanted}"
