"""Examples one by one: torch data sets, lists, and the data sets of the `datasets` library."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fftune.data.images import is_grey
from fftune.data.labels import plain_labels
from fftune.data.naming import IMAGE, LABEL, TEST, TRAIN, chosen_column
from fftune.errors import DataError

PARTS: Mapping[str, Sequence[str]] = {
    "train": TRAIN,
    "validation": ("validation", "valid", "val", "dev"),
    "test": TEST,
}
"""Keys of a mapping of parts that each split may have, the first before the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """Images of one size and their labels."""

    images: NDArray[Any]
    """(N, H, W, C)."""
    labels: list[Any]
    """Numbers as they are, or names of classes."""
    classes: tuple[str, ...]
    """Names of the classes in the order of their numbers, if the data say them."""


def is_one_by_one(data: Any) -> bool:
    """Tell if `data` is a data set whose items are single examples: by number, or in turn."""
    if isinstance(data, tuple | list | str | bytes | Mapping | np.ndarray | Tensor):
        return False
    if hasattr(data, "features") and hasattr(data, "__iter__"):  # of `datasets`, streamed or not
        return True
    return hasattr(data, "__getitem__") and hasattr(data, "__len__")


def part_of(data: Any, split: str, where: str) -> Any:
    """The part of a mapping of parts, as a `DatasetDict` is; anything else as it is.

    Raises:
        DataError: it has no part for this split.
    """
    if not isinstance(data, Mapping):
        return data
    name = next((name for name in PARTS[split] if name in data), None)
    if name is None:
        raise DataError(f"{where} have no {split} part, only {', '.join(map(str, data))}")
    return data[name]


def items_of(data: Any, where: str) -> Items:
    """Collect all examples.

    Args:
        data: its items are pairs (image, label), or mappings with an image and a label under the
            names of `naming`. Images are PIL's, arrays (H, W, C) or (H, W), or tensors (C, H, W).

    Raises:
        DataError: an item is none of these, or images differ in size.
    """
    images: list[Any] = []
    labels: list[Any] = []
    for i, item in enumerate(_each(data)):
        image, label = _pair(item, f"{where}: item {i}")
        images.append(image)
        labels.append(label)
    if not images:
        raise DataError(f"{where}: there are no examples")
    return Items(
        images=_stacked(images, where),
        labels=plain_labels(labels, where),
        classes=_classes(data),
    )


def _each(data: Any) -> Iterable[Any]:
    examples: Iterable[Any] = data
    if hasattr(data, "__len__") and hasattr(data, "__getitem__"):
        return (data[i] for i in range(len(data)))  # what has no end of its own has a length
    return examples


def _pair(item: Any, where: str) -> tuple[Any, Any]:
    if isinstance(item, Mapping):
        names = list(item)
        image = chosen_column(_pictures(item), IMAGE, said="", what="image", where=where)
        others = [name for name in names if name != image and np.ndim(item[name]) == 0]
        label = chosen_column(others, LABEL, said="", what="label", where=where)
        return item[image], item[label]
    try:
        image, label = item
    except (TypeError, ValueError):
        raise DataError(f"{where} is not (image, label)") from None
    return image, label


def _pictures(item: Mapping[str, Any]) -> list[str]:
    return [k for k, v in item.items() if isinstance(v, Image.Image) or np.ndim(v) in (2, 3)]


def _stacked(images: Sequence[Any], where: str) -> NDArray[Any]:
    """(N, H, W, C); grey images among colour ones become colour."""
    if all(isinstance(image, Image.Image) for image in images):
        grey = all(is_grey(image, f"{where}, image {i}") for i, image in enumerate(images))
        images = [np.asarray(image.convert("L" if grey else "RGB")) for image in images]
    pixels = [_channels_last(image, where) for image in images]
    shapes = {each.shape for each in pixels}
    if len(shapes) > 1:
        shown = ", ".join("x".join(map(str, shape)) for shape in sorted(shapes)[:4])
        raise DataError(f"{where}: images must be of one size, got {shown}; resize them before")
    return np.stack(pixels)


def _channels_last(image: Any, where: str) -> NDArray[Any]:
    pixels = np.asarray(image)
    if pixels.ndim == 3 and (isinstance(image, Tensor) or pixels.shape[2] not in (1, 3)):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim not in (2, 3):
        raise DataError(f"{where}: an image has shape {pixels.shape}, not (H, W, C)")
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _classes(data: Any) -> tuple[str, ...]:
    """Names of the classes that a data set says: torchvision's, and those of `datasets`."""
    features = getattr(data, "features", None)
    if isinstance(features, Mapping):
        known = {name.casefold(): name for name in features if hasattr(features[name], "names")}
        found = next((known[name] for name in LABEL if name in known), None)
        return () if found is None else tuple(map(str, features[found].names))
    while hasattr(data, "dataset") and not hasattr(data, "classes"):
        data = data.dataset  # a subset's whole
    classes = getattr(data, "classes", None)
    named = isinstance(classes, Sequence) and not isinstance(classes, str)
    return tuple(map(str, classes)) if named and classes is not None else ()
