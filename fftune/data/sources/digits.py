"""Handwritten digits from scikit-learn: real images without a download."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from fftune.data.dataset import Dataset, Source
from fftune.data.dataset_spec import DatasetSpec
from fftune.data.images import Array
from fftune.data.official_split import OfficialSplit, Parts
from fftune.errors import DataError

SOURCE = Source(
    name="digits",
    classes=tuple("0123456789"),
    levels=16,
    mean=(0.3053,),
    std=(0.3760,),
    division=(100, 500),
)


def digits() -> Dataset:
    """1,797 images, 1 x 8 x 8, 17 grey levels (Alpaydin & Kaynak 1998)."""
    table = torch.from_numpy(np.loadtxt(_file(), delimiter=",")).to(torch.int64)
    pixels = table[:, :-1].to(torch.uint8).view(-1, 1, 8, 8)
    y = table[:, -1].contiguous()
    return Dataset(source=SOURCE, split="test", ids=torch.arange(len(y)), pixels=pixels, y=y)


def _file() -> Path:
    """The file of `sklearn.datasets.load_digits`, whose import takes two seconds.

    Raises:
        DataError: scikit-learn is not installed, or keeps the digits elsewhere.
    """
    spec = find_spec("sklearn")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder) / "datasets/data/digits.csv.gz").exists():
            return path
    raise DataError("digits: scikit-learn, which holds them, is not installed as it should be")


def parts() -> Parts:
    """The digits as a data set without an official division."""
    whole = digits()
    pixels = whole.pixels.permute(0, 2, 3, 1).contiguous().numpy()
    images = Array("digits", pixels)
    return {"whole": OfficialSplit(source=SOURCE, name="whole", y=whole.y, images=images)}


DIGITS = DatasetSpec(load=parts, classes=10)
