"""Data sets of a user's own: arrays and torch data sets, in memory or as FILE.py:NAME."""

import numpy as np
import pytest
import torch
from PIL import Image

from fftune.config import DataSpec
from fftune.data import Dataset, load
from fftune.data.catalog import open_parts
from fftune.data.dataset_spec import DatasetSpec
from fftune.data.sources.arrays import parts_from
from fftune.errors import ConfigError, DataError


def from_arrays(images, labels, *, name: str, spec: DatasetSpec | None = None) -> Dataset:
    whole = parts_from((images, labels), name=name, spec=spec or DatasetSpec())["whole"]
    return whole.read(torch.arange(len(whole)), "test")


FILE = """
import numpy as np
from fftune.data.dataset_spec import DatasetSpec

def images(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 5, 3), np.uint8)

def halves():
    return {"train": (images(12, 0), [0, 1, 2] * 4), "test": (images(6, 1), [2, 1, 0] * 2)}

def whole():
    return images(12, 0), [0, 1, 2] * 4

def broken():
    raise KeyError("no such file")

NAMED = DatasetSpec(load=halves, class_names=("ant", "bee", "cat"), mean=(0.1, 0.2, 0.3))
number = 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def test_official_parts_of_a_function(file) -> None:
    spec = DataSpec(name=f"{file}:halves", validation_size=3)
    train, validation, test = (load(spec, split) for split in ("train", "validation", "test"))
    assert (len(train), len(validation), len(test)) == (9, 3, 6)
    assert test.y.tolist() == [2, 1, 0] * 2 and test.ids.tolist() == list(range(6))
    assert test.shape == (3, 4, 5)
    stored = np.random.default_rng(1).integers(0, 256, (6, 4, 5, 3), np.uint8)
    assert torch.equal(test.pixels, torch.from_numpy(stored).permute(0, 3, 1, 2))
    assert test.source.name == "halves" and test.source.classes == ("0", "1", "2")
    assert len(set(train.ids.tolist()) | set(validation.ids.tolist())) == 12


def test_the_fingerprint_is_that_of_the_content_wherever_the_file_is(file, tmp_path) -> None:
    (tmp_path / "elsewhere").mkdir()
    other = tmp_path / "elsewhere" / "copied.py"
    other.write_text(FILE)
    one, two = (load(DataSpec(name=f"{path}:halves"), "test").hash() for path in (file, other))
    assert one == two != load(DataSpec(name=f"{file}:halves"), "train").hash()


def test_a_set_without_an_official_division_is_whole(file) -> None:
    assert len(load(DataSpec(name=f"{file}:whole"), "test")) == 12


def test_a_record_names_classes_and_normalisation(file) -> None:
    source = open_parts(f"{file}:NAMED")["test"].source
    assert (source.classes, source.mean) == (("ant", "bee", "cat"), (0.1, 0.2, 0.3))


def test_a_relative_file_is_made_absolute(file, monkeypatch) -> None:
    monkeypatch.chdir(file.parent)
    assert DataSpec(name="mine.py:whole").name == f"{file}:whole"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "the file defines no 'nothing'"),
        ("number", "must be a DatasetSpec or a function, got int"),
        ("broken", "KeyError: 'no such file'"),
        ("images", "TypeError"),
    ],
)
def test_a_mistake_in_a_file_is_one_line(file, name, message) -> None:
    with pytest.raises((DataError, ConfigError), match=message) as caught:
        load(DataSpec(name=f"{file}:{name}"), "test")
    assert "\n" not in str(caught.value)


PIXELS = np.random.default_rng(0).integers(0, 256, (6, 3, 4, 5), np.uint8)
Y = [0, 1, 2, 0, 1, 2]


class Pictures(torch.utils.data.Dataset):
    """A torch data set of PIL images."""

    def __len__(self) -> int:
        return len(Y)

    def __getitem__(self, i: int) -> tuple[Image.Image, int]:
        return Image.fromarray(PIXELS[i].transpose(1, 2, 0)), Y[i]


@pytest.mark.parametrize(
    "images",
    [
        PIXELS,
        torch.from_numpy(PIXELS),
        PIXELS.transpose(0, 2, 3, 1),
        torch.from_numpy(PIXELS) / 255,
        PIXELS.astype(np.float64) / 255,
    ],
)
def test_images_in_any_form_are_the_same_examples(images) -> None:
    data = from_arrays(images, Y, name="mine")
    assert torch.equal(data.pixels, torch.from_numpy(PIXELS))
    assert data.y.tolist() == Y and data.y.dtype == torch.int64
    assert data.split == "test" and data.inputs.classes == 3


def test_a_torch_data_set_is_read_item_by_item(tmp_path) -> None:
    part = parts_from(Pictures(), name="mine", spec=DatasetSpec())["whole"]
    expected = from_arrays(PIXELS, Y, name="mine").hash()
    assert part.read(torch.arange(6), "test").hash() == expected
    items = [(torch.from_numpy(PIXELS[i]), Y[i]) for i in range(6)]
    part = parts_from({"test": items}, name="mine", spec=DatasetSpec())["test"]
    assert part.read(torch.arange(6), "test").hash() == expected


def test_grey_images_have_one_channel() -> None:
    data = from_arrays(PIXELS[:, 0], Y, name="mine")
    assert (data.shape, data.source.mean, data.source.std) == ((1, 4, 5), (0.5,), (0.5,))
    assert torch.equal(data.pixels[:, 0], torch.from_numpy(PIXELS[:, 0]))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (PIXELS, Y[:5], "6 images and 5 labels"),
        (PIXELS, [0.5] * 6, "whole numbers from 0"),
        (PIXELS, [-1] * 6, "whole numbers from 0"),
        (PIXELS.astype(np.int64) + 1, Y, "must lie in 0 to 255"),
        (PIXELS / 254, Y, "must be uint8, or floats"),
        (PIXELS / 255 + 1, Y, r"must lie in \[0, 1\]"),
        (np.full((6, 3, 4, 5), np.nan), Y, "must be uint8, or floats"),
        (PIXELS[:, :2], Y, "not 1 or 3 channels"),
        (PIXELS[0, 0], Y, "not .N, C, H, W."),
    ],
)
def test_what_8_bits_cannot_hold_is_refused(images, labels, message) -> None:
    with pytest.raises(DataError, match=message):
        from_arrays(images, labels, name="mine")


def test_labels_beyond_the_named_classes_are_refused() -> None:
    with pytest.raises(DataError, match="labels up to 2 and 2 classes"):
        from_arrays(PIXELS, Y, name="mine", spec=DatasetSpec(class_names=("ant", "bee")))
    two = DatasetSpec(classes=5)
    assert from_arrays(PIXELS, Y, name="mine", spec=two).inputs.classes == 5
