"""Synthetic images of any shape that can be learnt, made from a seed."""

import numpy as np
import torch

from fftune.config import nearest, require
from fftune.data.dataset import Source
from fftune.data.images import Array
from fftune.data.official_split import OfficialSplit, PartName, Parts
from fftune.errors import ConfigError

DEFAULTS = {"shape": "3x32x32", "classes": "10", "train": "1000", "test": "500", "seed": "0"}


def synthetic(settings: str) -> Parts:
    """Draw a prototype for every class, and examples that are half prototype and half noise.

    Args:
        settings: as in `shape=1x28x28,classes=4,train=100,test=50,seed=1`; each has a default.

    Raises:
        ConfigError: a setting is unknown or out of range.
    """
    given = dict(part.partition("=")[::2] for part in settings.split(",") if part)
    for key in given:
        require("synthetic", key in DEFAULTS, f"of known settings ({nearest(key, DEFAULTS)})", key)
    values = DEFAULTS | given
    numbers = {key: _whole(key, values[key]) for key in ("classes", "train", "test", "seed")}
    sides = [_whole("shape", side) for side in values["shape"].split("x")]
    require("synthetic.shape", len(sides) == 3 and min(sides) >= 1, "CxHxW", values["shape"])
    require("synthetic.shape", sides[0] in (1, 3), "of 1 or 3 channels", values["shape"])
    require("synthetic.classes", numbers["classes"] >= 1, ">= 1", numbers["classes"])
    channels, height, width = sides
    source = Source(
        name="synthetic",
        classes=tuple(map(str, range(numbers["classes"]))),
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
    )
    shape = (height, width, channels)
    parts: dict[PartName, int] = {"train": numbers["train"], "test": numbers["test"]}
    return {
        name: _drawn(source, name, size, shape, numbers["seed"]) for name, size in parts.items()
    }


def _drawn(
    source: Source, name: PartName, size: int, shape: tuple[int, int, int], seed: int
) -> OfficialSplit:
    classes = len(source.classes)
    prototypes = np.random.default_rng([seed, 0]).integers(0, 128, (classes, *shape), np.uint8)
    rng = np.random.default_rng([seed, 1 if name == "train" else 2])
    y = np.arange(size) * classes // max(size, 1)  # in the order of the classes, as folders are
    pixels = prototypes[y] + rng.integers(0, 128, (size, *shape), np.uint8)
    return OfficialSplit(
        source=source, name=name, y=torch.from_numpy(y), images=Array("synthetic", pixels)
    )


def _whole(setting: str, value: str) -> int:
    if not value.isdecimal():
        raise ConfigError(f"synthetic.{setting} must be a whole number, got {value!r}")
    return int(value)
