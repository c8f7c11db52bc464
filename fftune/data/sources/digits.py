"""Handwritten digits from scikit-learn: real images without a download."""

import torch
from sklearn.datasets import load_digits

from fftune.data.dataset import Dataset, Source
from fftune.data.dataset_spec import DatasetSpec
from fftune.data.images import Array
from fftune.data.official_split import OfficialSplit, Parts

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
    data = load_digits()
    pixels = torch.from_numpy(data.images).to(torch.uint8).unsqueeze(1)
    y = torch.from_numpy(data.target).to(torch.int64)
    return Dataset(source=SOURCE, split="test", ids=torch.arange(len(y)), pixels=pixels, y=y)


def parts() -> Parts:
    """The digits as a data set without an official division."""
    whole = digits()
    pixels = whole.pixels.permute(0, 2, 3, 1).contiguous().numpy()
    images = Array("digits", pixels)
    return {"whole": OfficialSplit(source=SOURCE, name="whole", y=whole.y, images=images)}


DIGITS = DatasetSpec(load=parts, classes=10)
