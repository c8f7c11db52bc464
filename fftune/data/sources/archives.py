"""The files in which torchvision keeps data sets, where somebody has downloaded them already.

Nothing is fetched. torchvision checks each file's MD5 before it is read.
"""

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fftune.data.dataset import Source
from fftune.data.images import Array
from fftune.data.official_split import LazySplits, OfficialSplit, PartName, Parts
from fftune.data.sources.folders import Floats, natural
from fftune.errors import DataError


@dataclass(frozen=True, slots=True)
class Opened:
    """One part as torchvision gives it."""

    pixels: Any
    """(N, H, W, C) uint8."""
    y: Any
    names: Sequence[str]
    """By which an image folder of the same set is sorted within a class."""
    classes: Sequence[str] = tuple("0123456789")


Archive = Callable[[Path], Callable[[bool], Opened] | None]
"""From a folder to the reader of its training or test part, or None where no files are."""


def cifar10(root: Path) -> Callable[[bool], Opened] | None:
    """`cifar-10-batches-py`."""
    from torchvision.datasets import CIFAR10

    return _cifar(CIFAR10, root)


def cifar100(root: Path) -> Callable[[bool], Opened] | None:
    """`cifar-100-python`."""
    from torchvision.datasets import CIFAR100

    return _cifar(CIFAR100, root)


def mnist(root: Path) -> Callable[[bool], Opened] | None:
    """`MNIST/raw`."""
    if not (root / "MNIST/raw").is_dir():
        return None
    from torchvision.datasets import MNIST

    def read(train: bool) -> Opened:
        data = MNIST(str(root), train=train)
        return Opened(data.data.numpy()[..., None], data.targets.numpy(), _numbers(len(data)))

    return read


def svhn(root: Path) -> Callable[[bool], Opened] | None:
    """`train_32x32.mat` and `test_32x32.mat`."""
    if not (root / "train_32x32.mat").is_file():
        return None
    from torchvision.datasets import SVHN

    def read(train: bool) -> Opened:
        data = SVHN(str(root), split="train" if train else "test")
        return Opened(data.data.transpose(0, 2, 3, 1), data.labels, _numbers(len(data)))

    return read


def opened(read: Callable[[bool], Opened], *, name: str, mean: Floats, std: Floats) -> Parts:
    """Both parts, sorted by class and name, so that ids are those of an image folder.

    Raises:
        DataError: a file is missing or is not the one that was published.
    """
    names: tuple[PartName, PartName] = ("train", "test")
    return LazySplits({n: partial(_part, n, read, name=name, mean=mean, std=std) for n in names})


def _part(
    part: PartName, read: Callable[[bool], Opened], *, name: str, mean: Floats, std: Floats
) -> OfficialSplit:
    try:
        data = read(part == "train")
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"data set {name!r}, {part} part: {reason}") from None
    y = np.asarray(data.y, np.int64)
    order = sorted(range(len(y)), key=lambda i: (y[i], natural(data.names[i])))
    return OfficialSplit(
        source=Source(name=name, classes=tuple(data.classes), mean=mean, std=std),
        name=part,
        y=torch.from_numpy(y[order]),
        images=Array(name, np.ascontiguousarray(data.pixels[order])),
    )


def _cifar(kind: Any, root: Path) -> Callable[[bool], Opened] | None:
    folder = root / kind.base_folder
    if not folder.is_dir():
        return None

    def read(train: bool) -> Opened:
        data = kind(str(root), train=train)
        files = [file for file, _ in (data.train_list if train else data.test_list)]
        names = [name for file in files for name in _image_names(folder / file)]
        return Opened(data.data, data.targets, names, data.classes)

    return read


def _image_names(path: Path) -> list[str]:
    """Of a file whose MD5 torchvision has just compared with its own list."""
    with path.open("rb") as file:
        names: list[str] = pickle.load(file, encoding="latin1")["filenames"]  # noqa: S301
    return names


def _numbers(count: int) -> list[str]:
    return list(map(str, range(count)))
