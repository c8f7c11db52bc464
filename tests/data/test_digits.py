import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from fftune.config import DataSpec
from fftune.data import load
from fftune.errors import DataError

SPEC = DataSpec(name="digits", train_size=100, validation_size=500)
SPLITS = ("train", "validation", "test")


def test_parts_are_disjoint_and_complete() -> None:
    parts = [load(SPEC, split) for split in SPLITS]
    assert [len(part) for part in parts] == [100, 500, 1197]
    assert torch.cat([part.ids for part in parts]).sort().values.tolist() == list(range(1797))
    assert [part.split for part in parts] == list(SPLITS)


def test_sizes_that_nobody_says_are_the_digits_own() -> None:
    """`evaluate --data digits` meets the images that every study at this scale reports on."""
    for split in SPLITS:
        assert load(DataSpec(name="digits"), split).hash() == load(SPEC, split).hash()
    more = DataSpec(name="digits", train_size=200)
    assert [len(load(more, split)) for split in SPLITS] == [200, 500, 1097]


def test_images_and_classes_are_scikit_learns() -> None:
    data = load_digits()
    for part in (load(SPEC, split) for split in SPLITS):
        rows = part.ids.numpy()
        assert (part.pixels[:, 0].numpy() == data.images[rows]).all()
        assert (part.y.numpy() == data.target[rows]).all()
        assert part.pixels.dtype == torch.uint8


def test_every_class_has_its_share() -> None:
    whole = np.bincount(load_digits().target) / 1797
    for split in SPLITS:
        part = load(SPEC, split)
        share = np.bincount(part.y.numpy(), minlength=10) / len(part)
        assert np.abs(share - whole).max() <= 1 / len(part) + 1e-9


def test_pixels_and_labels_are_those_of_scikit_learn() -> None:
    whole, data = load_digits(), load(SPEC, "test")
    ids, x, y = next(data.batches(len(data)))
    assert torch.equal(ids, ids.sort().values)
    np.testing.assert_array_equal(x[:, 0].numpy() * 16, whole.images[ids])
    np.testing.assert_array_equal(y.numpy(), whole.target[ids])
    assert (x.min(), x.max(), x.dtype, y.dtype) == (0, 1, torch.float32, torch.int64)
    mean, std = whole.images.mean() / 16, whole.images.std() / 16
    assert data.source.mean[0] == pytest.approx(mean, abs=1e-3)
    assert data.source.std[0] == pytest.approx(std, abs=1e-3)


def test_batches_cover_everything_once_and_the_last_keeps_its_shape() -> None:
    data = load(SPEC, "train")
    order = torch.arange(100).flip(0)
    batches = list(data.batches(30, order))
    assert [len(ids) for ids, _, _ in batches] == [30, 30, 30, 10]
    assert torch.equal(torch.cat([ids for ids, _, _ in batches]), data.ids.flip(0))


def test_hash_names_the_content() -> None:
    assert load(SPEC, "test").hash() == load(SPEC, "test").hash()
    other = DataSpec(name="digits", train_size=100, validation_size=500, split_seed=1)
    assert load(SPEC, "test").hash() != load(other, "test").hash()
    assert load(SPEC, "test").hash() != load(SPEC, "train").hash()


def test_what_does_not_exist_or_fit() -> None:
    with pytest.raises(DataError, match=r"data\.name: no data set 'digit'; did you mean 'digits'"):
        load(DataSpec(name="digit"), "test")
    with pytest.raises(DataError, match="cannot be split into train 1500, validation 500"):
        load(DataSpec(name="digits", train_size=1500), "test")
    with pytest.raises(DataError, match="cannot be split"):
        load(DataSpec(name="digits", train_size=9), "test")
