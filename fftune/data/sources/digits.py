"""The handwritten digits that scikit-learn carries: real images without a download."""

import torch
from sklearn.datasets import load_digits

from fftune.data.dataset import Dataset, Source

DIGITS = Source(
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
    return Dataset(source=DIGITS, split="test", ids=torch.arange(len(y)), pixels=pixels, y=y)
