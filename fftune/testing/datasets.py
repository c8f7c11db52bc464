"""Conformance test of data sets."""

import torch

from fftune.data.catalog import open_parts
from fftune.data.official_split import OfficialSplit

IMAGES = 20
"""Images of each part that are decoded."""


def check_dataset(name: str) -> None:
    """Check the official parts of a data set; a few images of each are decoded.

    Labels must be classes, ids must be distinct, images must be of one size with the channels of
    the normalisation, every class must have a training example, and the data set must be the
    same each time it is opened.

    Args:
        name: a name, `folder:PATH`, or `FILE.py:NAME`.

    Raises:
        AssertionError: it does not conform; the message says how.
        DataError: it cannot be opened.
    """
    parts, again = open_parts(name), open_parts(name)
    assert parts, "it must have a part"
    for part in parts:
        _check_part(parts[part])
        _check_same(parts[part], again[part])
    first = parts["train"] if "train" in parts else next(iter(parts.values()))
    missing = set(range(len(first.source.classes))) - set(first.y.tolist())
    assert not missing, f"class {min(missing, default=0)} has no example in {first.name}"
    kinds = {part.source for part in parts.values()}
    assert len(kinds) == 1, "parts must agree on classes and normalisation"


def _check_part(part: OfficialSplit) -> None:
    source, count = part.source, len(part)
    assert count, f"part {part.name} must have examples"
    assert part.y.dtype == torch.int64 and part.y.shape == (count,), "labels must be (N,) int64"
    low, high = int(part.y.min()), int(part.y.max())
    assert low >= 0 and high < len(source.classes), f"labels {low} ... {high} must be classes"
    ids = part.ids_of(torch.arange(count))
    assert len(ids.unique()) == count, f"ids of part {part.name} must be distinct"
    data = part.read(torch.arange(min(IMAGES, count)), "test")
    assert data.shape[0] == len(source.mean) == len(source.std), (
        f"images have {data.shape[0]} channels, the normalisation {len(source.mean)}"
    )
    assert int(data.pixels.max()) <= source.levels, "pixels must not exceed the largest level"


def _check_same(one: OfficialSplit, two: OfficialSplit) -> None:
    rows = torch.arange(min(IMAGES, len(one)))
    same = len(one) == len(two) and torch.equal(one.y, two.y)
    same = same and one.read(rows, "test").hash() == two.read(rows, "test").hash()
    assert same, "it must be the same each time it is opened: draw from a seeded generator"
