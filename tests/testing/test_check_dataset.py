"""The conformance test of data sets: ours pass, and each kind of mistake is named."""

import pytest

from fftune.testing.datasets import check_dataset

FILE = """
import numpy as np
from fftune.data.dataset_spec import DatasetSpec

def images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 4), np.uint8)

def good():
    return {"train": (images(6), [0, 1, 2] * 2), "test": (images(3), [0, 1, 2])}

def random():
    return images(6, None), [0, 1, 2] * 2

def gap():
    return images(6), [0, 2] * 3

COLOUR = DatasetSpec(load=good, mean=(0.5,) * 3, std=(0.5,) * 3)
"""


@pytest.mark.parametrize("name", ["digits", "synthetic", "synthetic:shape=1x8x8,classes=3"])
def test_the_packages_sets_conform(name: str) -> None:
    check_dataset(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("good", ""),
        ("random", "the same each time"),
        ("gap", "class 1 has no example"),
        ("COLOUR", "images have 1 channels, the normalisation 3"),
    ],
)
def test_sets_of_a_file(tmp_path, name, message) -> None:
    file = tmp_path / "sets.py"
    file.write_text(FILE)
    if not message:
        check_dataset(f"{file}:{name}")
        return
    with pytest.raises(AssertionError, match=message):
        check_dataset(f"{file}:{name}")
