"""Handwritten digits from scikit-learn, and sets that are made of them: real images, no download.

`digits-negatives` holds each digit and its negative as two classes, `digits-rotated` four turns of
each as four classes, so that there are mistakes to make among 20 and 40 classes. The images of
`digits-enlarged` have 32 x 32 pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

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


def _made(name: str, forms: Sequence[str], change: Callable[[Tensor, int], Tensor]) -> Parts:
    """Every digit in each of several forms, each form of a digit a class of its own.

    Args:
        change: makes (N, 1, H, W) pixels of the digits' and the number of a form.
    """
    whole = digits()
    pixels = torch.cat([change(whole.pixels, form) for form in range(len(forms))])
    y = torch.cat([whole.y * len(forms) + form for form in range(len(forms))])
    classes = tuple(f"{digit}{form}" for digit in SOURCE.classes for form in forms)
    source = replace(SOURCE, name=name, classes=classes, division=None)
    images = Array(name, pixels.permute(0, 2, 3, 1).contiguous().numpy())
    return {"whole": OfficialSplit(source=source, name="whole", y=y, images=images)}


def _negatives() -> Parts:
    forms = ("", " negative")
    return _made("digits-negatives", forms, lambda x, form: SOURCE.levels - x if form else x)


def _rotated() -> Parts:
    forms = ("", " left", " upside down", " right")
    return _made("digits-rotated", forms, lambda x, form: torch.rot90(x, form, (2, 3)))


def _enlarged() -> Parts:
    return _made(
        "digits-enlarged", ("",), lambda x, _: x.repeat_interleave(4, 2).repeat_interleave(4, 3)
    )


DIGITS = DatasetSpec(load=parts, classes=10)
NEGATIVES = DatasetSpec(load=_negatives, classes=20)
ROTATED = DatasetSpec(load=_rotated, classes=40)
ENLARGED = DatasetSpec(load=_enlarged, classes=10)
