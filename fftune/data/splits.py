"""Disjoint, stratified splits of a data set."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
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
    kept, taken = _by_class(y[left].numpy(), size, seed)
    return left[torch.from_numpy(taken)], left[torch.from_numpy(kept)]


def _by_class(
    y: NDArray[np.int64], size: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of all but `size` examples, and of these, with equal shares of every class.

    The draw of scikit-learn's `train_test_split`, whose import takes seconds.

    Raises:
        DataError: a class has a single example.
    """
    classes, counts = np.unique(y, return_counts=True)
    if counts.min() < 2:
        alone = classes[counts < 2].tolist()
        raise DataError(f"cannot be split by class: a single example of {alone}")
    members = np.split(np.argsort(y, kind="stable"), np.cumsum(counts)[:-1])
    rng = np.random.RandomState(seed)
    kept = _shares(counts, len(y) - size, rng)
    taken = _shares(counts - kept, size, rng)
    firsts, seconds = [], []
    for own, first, second in zip(members, kept, taken, strict=True):
        shuffled = own[rng.permutation(len(own))]
        firsts.append(shuffled[:first])
        seconds.append(shuffled[first : first + second])
    return rng.permutation(np.concatenate(firsts)), rng.permutation(np.concatenate(seconds))


def _shares(
    counts: NDArray[np.int64], wanted: int, rng: np.random.RandomState
) -> NDArray[np.int64]:
    """(K,) examples of each class, `wanted` in all; the largest remainders are rounded up."""
    exact = counts / counts.sum() * wanted
    shares: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    missing = int(wanted - shares.sum())
    remainders = exact - shares
    for value in np.unique(remainders)[::-1]:
        if not missing:
            break
        (equal,) = np.where(remainders == value)
        more = rng.choice(equal, size=min(len(equal), missing), replace=False)
        shares[more] += 1
        missing -= len(more)
    return shares


def _wanted(y: Tensor, sizes: Mapping[Split, int]) -> str:
    wanted = ", ".join(f"{name} {size}" for name, size in sizes.items())
    return f"{len(y)} examples of {len(y.unique())} classes cannot be split into {wanted}"
