"""The record of a data set: where its files are found and what is known before they are seen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Floats = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ArchiveSplit:
    """One official part as a published archive holds it."""

    pixels: Any
    """(N, H, W, C) uint8."""
    y: Any
    """(N,) whole numbers."""
    names: Sequence[str]
    """Names of the images, by which a folder of the same set is sorted within a class."""
    classes: Sequence[str] = tuple("0123456789")


Archive = Callable[[Path], Callable[[bool], ArchiveSplit] | None]
"""Finds the files in a folder: a reader of the training (True) or test part, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec:
    """A data set of the table DATASETS, or of a user's file.

    It is found by `load`, by an `archive` reader, or as a folder of images under the data folder.
    """

    load: Callable[[], Any] | None = None
    """A function that returns the examples; see `arrays.parts_from` for their forms. None: they
    are files under the data folder (`FFTUNE_DATA`)."""
    archive: Archive | None = None
    """Finds the files of torchvision."""
    layout: str = ""
    """The files of `archive`, for messages, as in "torchvision's cifar-10-batches-py"."""
    folders: tuple[str, ...] = ()
    """Names of its folder under the data folder, beside the data set's own name."""
    official: Mapping[str, int] = field(default_factory=dict)
    """Published number of examples of each part. A subset is usable; `data list` says that it is
    one."""
    classes: int = 0
    """Published number of classes; 0: it is not checked."""
    class_names: tuple[str, ...] = ()
    """Names of the classes in the order of their numbers, for `load`; empty: the numbers."""
    mean: Floats = ()
    std: Floats = ()
    """Normalisation of pixels in [0, 1], one value for each channel. Empty: ImageNet's for colour
    images, 0.5 for grey ones."""
