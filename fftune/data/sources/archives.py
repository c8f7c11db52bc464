"""Archives of torchvision: MNIST, CIFAR and SVHN as they were downloaded before.

Nothing is fetched. torchvision checks each file's MD5 before it is read.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fftune.data.dataset import Source
from fftune.data.dataset_spec import ArchiveSplit, DatasetSpec, Floats
from fftune.data.images import Array
from fftune.data.naming import natural
from fftune.data.official_split import LazySplits, OfficialSplit, PartName, Parts
from fftune.data.sources.cifar_pickles import unpickled
from fftune.errors import DataError
from fftune.stored_file import advised, require_plain_file


def cifar10(root: Path) -> Callable[[bool], ArchiveSplit] | None:
    """Reader of `cifar-10-batches-py`, or None."""
    from torchvision import datasets

    return _cifar(datasets.CIFAR10, root)


def cifar100(root: Path) -> Callable[[bool], ArchiveSplit] | None:
    """Reader of `cifar-100-python`, or None."""
    from torchvision import datasets

    return _cifar(datasets.CIFAR100, root)


def mnist(root: Path) -> Callable[[bool], ArchiveSplit] | None:
    """Reader of `MNIST/raw`, or None."""
    if not (root / "MNIST/raw").is_dir():
        return None
    from torchvision import datasets

    def read(train: bool) -> ArchiveSplit:
        for path in (root / "MNIST/raw").iterdir():
            require_plain_file(path)
        data = datasets.MNIST(str(root), train=train)
        return ArchiveSplit(data.data.numpy()[..., None], data.targets.numpy(), _numbers(len(data)))

    return read


def svhn(root: Path) -> Callable[[bool], ArchiveSplit] | None:
    """Reader of `train_32x32.mat` and `test_32x32.mat`, or None."""
    if not (root / "train_32x32.mat").is_file():
        return None
    from torchvision import datasets

    def read(train: bool) -> ArchiveSplit:
        data = datasets.SVHN(str(root), split="train" if train else "test")
        return ArchiveSplit(data.data.transpose(0, 2, 3, 1), data.labels, _numbers(len(data)))

    return read


def opened(
    read: Callable[[bool], ArchiveSplit], root: Path, *, name: str, mean: Floats, std: Floats
) -> Parts:
    """Both parts, sorted by class and name, so that ids are those of an image folder.

    Args:
        root: folder that `read` reads.

    Raises:
        DataError: a file is missing or is not the one that was published.
    """
    names: tuple[PartName, PartName] = ("train", "test")
    part = partial(_part, read=read, root=root, name=name, mean=mean, std=std)
    return LazySplits({n: partial(part, n) for n in names})


def _part(
    part: PartName,
    *,
    read: Callable[[bool], ArchiveSplit],
    root: Path,
    name: str,
    mean: Floats,
    std: Floats,
) -> OfficialSplit:
    try:
        data = read(part == "train")
    except Exception as error:  # torchvision's readers unpack damaged files by any of Python's
        reason = next(iter(str(error).splitlines()), "its content is another")
        why = f"the files in {str(root)!r} are damaged, or not those that were published"
        line = f"data set {name!r}, {part} part: {reason}; {why}"
        raise DataError(advised("archive", line, error)) from error
    y = np.asarray(data.y, np.int64)
    order = sorted(range(len(y)), key=lambda i: (y[i], natural(data.names[i])))
    return OfficialSplit(
        source=Source(name=name, classes=tuple(data.classes), mean=mean, std=std),
        name=part,
        y=torch.from_numpy(y[order]),
        images=Array(name, np.ascontiguousarray(data.pixels[order])),
        origin=f"torchvision's files in {str(root)!r}",
    )


def _cifar(kind: Any, root: Path) -> Callable[[bool], ArchiveSplit] | None:
    folder = root / kind.base_folder
    if not folder.is_dir():
        return None

    def read(train: bool) -> ArchiveSplit:
        data = kind(str(root), train=train)
        files = [file for file, _ in (data.train_list if train else data.test_list)]
        names = [name for file in files for name in unpickled(folder / file)["filenames"]]
        return ArchiveSplit(data.data, data.targets, names, data.classes)

    return read


def _numbers(count: int) -> list[str]:
    return list(map(str, range(count)))


MNIST = DatasetSpec(
    archive=mnist,
    layout="torchvision's MNIST/raw",
    classes=10,
    official={"train": 60_000, "test": 10_000},
    mean=(0.1307,),
    std=(0.3081,),
)
CIFAR10 = DatasetSpec(
    archive=cifar10,
    layout="torchvision's cifar-10-batches-py",
    classes=10,
    official={"train": 50_000, "test": 10_000},
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2471, 0.2435, 0.2616),
)
CIFAR100 = DatasetSpec(
    archive=cifar100,
    layout="torchvision's cifar-100-python",
    classes=100,
    official={"train": 50_000, "test": 10_000},
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
)
SVHN = DatasetSpec(
    archive=svhn,
    layout="torchvision's train_32x32.mat and test_32x32.mat",
    classes=10,
    official={"train": 73_257, "test": 26_032},
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
)
