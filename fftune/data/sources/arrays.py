"""Data sets in memory: arrays of images and labels, or torch data sets, of a user's own."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fftune.data.data_form import IMAGENET_MEAN, IMAGENET_STD
from fftune.data.dataset import Source
from fftune.data.dataset_spec import DatasetSpec
from fftune.data.images import Array
from fftune.data.items import is_one_by_one, items_of
from fftune.data.naming import TEST, TRAIN, chosen_parts
from fftune.data.official_split import OfficialSplit, PartName, Parts
from fftune.errors import DataError

Examples = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Images (N, H, W, C) and labels (N,)."""


def parts_from(loaded: Any, *, name: str, spec: DatasetSpec) -> Parts:
    """The official parts that a user's function has returned.

    Ids are positions.

    Args:
        loaded: a mapping from "train" and "test" (or "whole", for a data set without an official
            division) to examples; or the examples of the whole. Examples are a pair
            (images, labels), a torch data set or list of pairs (image, label), or a data set of
            `datasets`. Images are (N, C, H, W), (N, H, W, C) or (N, H, W) whole numbers to 255, or
            floats k / 255 in [0, 1]; single ones are PIL's, arrays (H, W, C) or tensors
            (C, H, W), all of one size. Labels are (N,) whole numbers from 0. What this package's
            own sources return is taken as it is. Of "test" and "validation" the first is taken.
        name: the data set's name, which keys its noise.
        spec: names of the classes and normalisation.

    Raises:
        DataError: it is something else.
    """
    parts = _parts(loaded, name)
    if all(isinstance(part, OfficialSplit) for part in parts.values()):
        return cast("Parts", loaded)
    opened = {part: _examples(parts[part], f"{name}, {part} part") for part in parts}
    found = {part: examples for part, (examples, _) in opened.items()}
    names_said = next((names for _, names in opened.values() if names), ())
    source = _source(found, name, replace(spec, class_names=spec.class_names or names_said))
    return {
        part: OfficialSplit(
            source=source, name=part, y=torch.from_numpy(y), images=Array(name, pixels)
        )
        for part, (pixels, y) in found.items()
    }


def _parts(loaded: Any, name: str) -> Mapping[PartName, Any]:
    if not isinstance(loaded, Mapping):
        return {"whole": loaded}
    if set(loaded) == {"whole"}:
        return cast("Mapping[PartName, Any]", loaded)
    if not loaded or set(loaded) - {*TRAIN, *TEST}:
        known = "'train' and 'test', or 'whole' alone"
        raise DataError(f"data set {name!r} must have parts {known}, got {', '.join(loaded)}")
    return {part: loaded[word] for part, word in chosen_parts(loaded).items()}


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


def _examples(part: Any, where: str) -> tuple[Examples, tuple[str, ...]]:
    """Images and labels of a part, and the names of its classes, if it says them."""
    names: tuple[str, ...] = ()
    if isinstance(part, tuple) and len(part) == 2:
        images, labels = part
    elif is_one_by_one(part) or isinstance(part, list):
        items = items_of(part, f"data set {where}")
        images, labels, names = items.images, items.labels, items.classes
    else:
        kind = type(part).__name__
        raise DataError(f"data set {where}: expected (images, labels) or a torch data set: {kind}")
    pixels, y = pixels_of(images, f"data set {where}"), _labels(labels, where)
    if len(pixels) != len(y) or not len(y):
        raise DataError(f"data set {where}: {len(pixels)} images and {len(y)} labels")
    return (pixels, y), names


def pixels_of(images: Any, where: str) -> NDArray[np.uint8]:
    """(N, H, W, C) uint8 of images in any of the forms of `parts_from`.

    Raises:
        DataError: they have another form, or values that 8 bits cannot hold.
    """
    pixels = np.asarray(images)
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.ndim != 4:
        raise DataError(f"{where}: images have shape {pixels.shape}, not (N, C, H, W)")
    if pixels.shape[1] in (1, 3) and (isinstance(images, Tensor) or pixels.shape[3] not in (1, 3)):
        pixels = pixels.transpose(0, 2, 3, 1)
    if pixels.shape[3] not in (1, 3):
        raise DataError(f"{where}: images have shape {pixels.shape}, not 1 or 3 channels")
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    if np.issubdtype(pixels.dtype, np.integer):
        if len(pixels) and not 0 <= pixels.min() <= pixels.max() <= 255:
            raise DataError(f"{where}: pixels must lie in 0 to 255")
        return np.ascontiguousarray(pixels.astype(np.uint8))
    levels = pixels * 255.0 if np.issubdtype(pixels.dtype, np.floating) else None
    if levels is None or not (np.abs(levels - levels.round()) <= 1e-3).all():
        raise DataError(f"{where}: images must be uint8, or floats that are k / 255")
    if len(levels) and (levels.min() < 0 or levels.round().max() > 255):
        raise DataError(f"{where}: pixels must lie in [0, 1]")
    return np.ascontiguousarray(levels.round().astype(np.uint8))


def _labels(labels: Any, where: str) -> NDArray[np.int64]:
    y = np.asarray(labels)
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer) or (len(y) and y.min() < 0):
        raise DataError(f"data set {where}: labels must be (N,) whole numbers from 0")
    return y.astype(np.int64)
