"""Data sets in memory: arrays of images and labels, or torch data sets, of a user's own."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fftune.data.dataset import Source
from fftune.data.dataset_spec import DatasetSpec
from fftune.data.images import Array
from fftune.data.official_split import OfficialSplit, PartName, Parts
from fftune.data.sources.folders import IMAGENET_MEAN, IMAGENET_STD
from fftune.errors import DataError

Examples = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Images (N, H, W, C) and labels (N,)."""


def parts_from(loaded: Any, *, name: str, spec: DatasetSpec) -> Parts:
    """The official parts that a user's function has returned.

    Ids are positions.

    Args:
        loaded: a mapping from "train" and "test" (or "whole", for a data set without an official
            division) to examples; or the examples of the whole. Examples are a pair
            (images, labels) or a torch data set of pairs (image, label). Images are (N, C, H, W),
            (N, H, W, C) or (N, H, W) uint8, or floats k / 255 in [0, 1]; those of a torch data set
            are PIL's, arrays (H, W, C) or tensors (C, H, W), all of one size. Labels are (N,)
            whole numbers from 0. What this package's own sources return is taken as it is.
        name: the data set's name, which keys its noise.
        spec: names of the classes and normalisation.

    Raises:
        DataError: it is something else.
    """
    parts: Mapping[PartName, Any] = loaded if isinstance(loaded, Mapping) else {"whole": loaded}
    names: tuple[PartName, ...] = ("train", "test", "whole")
    if not parts or set(parts) - set(names) or ("whole" in parts and len(parts) > 1):
        known = "'train' and 'test', or 'whole' alone"
        raise DataError(f"data set {name!r} must have parts {known}, got {', '.join(parts)}")
    if all(isinstance(part, OfficialSplit) for part in parts.values()):
        return cast("Parts", loaded)
    found = {part: _examples(parts[part], f"{name}, {part} part") for part in parts}
    source = _source(found, name, spec)
    return {
        part: OfficialSplit(
            source=source, name=part, y=torch.from_numpy(y), images=Array(name, pixels)
        )
        for part, (pixels, y) in found.items()
    }


def _source(found: Mapping[PartName, Examples], name: str, spec: DatasetSpec) -> Source:
    """Classes and normalisation of all parts.

    Raises:
        DataError: parts differ in their channels, or there are more classes than names.
    """
    channels = {pixels.shape[3] for pixels, _ in found.values()}
    if len(channels) > 1:
        raise DataError(f"data set {name!r}: parts have {sorted(channels)} channels")
    count = 1 + max(int(y.max()) for _, y in found.values())
    names = spec.class_names or tuple(map(str, range(max(count, spec.classes))))
    if count > len(names):
        raise DataError(f"data set {name!r} has labels up to {count - 1} and {len(names)} classes")
    colour = channels == {3}
    grey = (0.5,) * channels.pop()
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if colour else (grey, grey)
    return Source(name=name, classes=names, mean=spec.mean or mean, std=spec.std or std)


def _examples(part: Any, where: str) -> Examples:
    if isinstance(part, tuple) and len(part) == 2:
        images, labels = part
    elif hasattr(part, "__getitem__") and hasattr(part, "__len__"):
        images, labels = _of_torch(part, where)
    else:
        kind = type(part).__name__
        raise DataError(f"data set {where}: expected (images, labels) or a torch data set: {kind}")
    pixels, y = _pixels(images, where), _labels(labels, where)
    if len(pixels) != len(y) or not len(y):
        raise DataError(f"data set {where}: {len(pixels)} images and {len(y)} labels")
    return pixels, y


def _of_torch(part: Any, where: str) -> tuple[NDArray[Any], list[int]]:
    """All images (N, H, W, C) and labels of a torch data set.

    Raises:
        DataError: an item is no pair, or images differ in size.
    """
    images, labels = [], []
    for i in range(len(part)):
        try:
            image, label = part[i]
        except (TypeError, ValueError):
            raise DataError(f"data set {where}: item {i} is not (image, label)") from None
        pixels = np.asarray(image)
        if isinstance(image, Tensor) and pixels.ndim == 3:
            pixels = pixels.transpose(1, 2, 0)
        images.append(pixels if pixels.ndim == 3 else pixels[..., None])
        labels.append(int(label))
    if len({pixels.shape for pixels in images}) > 1:
        raise DataError(f"data set {where}: images must be of one size")
    return np.stack(images), labels


def _pixels(images: Any, where: str) -> NDArray[np.uint8]:
    """(N, H, W, C) uint8 of images in any of the forms of `parts_from`.

    Raises:
        DataError: they have another form, or values that 8 bits cannot hold.
    """
    pixels = np.asarray(images)
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.ndim != 4:
        raise DataError(f"data set {where}: images have shape {pixels.shape}, not (N, C, H, W)")
    if pixels.shape[1] in (1, 3) and (isinstance(images, Tensor) or pixels.shape[3] not in (1, 3)):
        pixels = pixels.transpose(0, 2, 3, 1)
    if pixels.shape[3] not in (1, 3):
        raise DataError(f"data set {where}: images have shape {pixels.shape}, not 1 or 3 channels")
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    levels = pixels * 255.0 if np.issubdtype(pixels.dtype, np.floating) else None
    if levels is None or not (np.abs(levels - levels.round()) <= 1e-3).all():
        raise DataError(f"data set {where}: images must be uint8, or floats that are k / 255")
    if levels.min() < 0 or levels.round().max() > 255:
        raise DataError(f"data set {where}: pixels must lie in [0, 1]")
    return np.ascontiguousarray(levels.round().astype(np.uint8))


def _labels(labels: Any, where: str) -> NDArray[np.int64]:
    y = np.asarray(labels)
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer) or (len(y) and y.min() < 0):
        raise DataError(f"data set {where}: labels must be (N,) whole numbers from 0")
    return y.astype(np.int64)
