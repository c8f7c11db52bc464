"""Data sets in memory whose examples come one by one: torch's, and those of `datasets`."""

from collections.abc import Iterator
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset, TensorDataset

from fftune.data import Dataset
from fftune.data.dataset_spec import DatasetSpec
from fftune.data.held import hold
from fftune.data.in_memory import dataset_of
from fftune.data.sources.arrays import parts_from
from fftune.errors import DataError

X = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), np.uint8)
Y = [0, 1, 2, 0, 1, 2]
PIXELS = torch.from_numpy(X).permute(0, 3, 1, 2)
FLOATS = PIXELS / 255


class Pairs:
    """A torch data set, as far as anybody looks."""

    classes = ("ant", "bee", "cat")

    def __init__(self, images: Any, labels: Any = Y) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> Any:
        return self.images[i], self.labels[i]


class Rows(Pairs):
    """As a `datasets.Dataset` is: rows are mappings, and features say the classes."""

    features = MappingProxyType(
        {"img": object(), "label": SimpleNamespace(names=["ant", "bee", "cat", "dog"])}
    )

    def __getitem__(self, i: int) -> Any:
        return {"img": self.images[i], "label": self.labels[i], "id": f"row {i}"}


class Streamed:
    """As a `datasets.IterableDataset` is: without a length."""

    features = Rows.features

    def __iter__(self) -> Iterator[Any]:
        return (Rows(PICTURES)[i] for i in range(6))


PICTURES = [Image.fromarray(x) for x in X]


@pytest.mark.parametrize(
    ("data", "classes"),
    [
        (Pairs(PICTURES), ("ant", "bee", "cat")),
        (Pairs(X), ("ant", "bee", "cat")),
        (Pairs(FLOATS), ("ant", "bee", "cat")),
        (Pairs(PIXELS, [torch.tensor(y) for y in Y]), ("ant", "bee", "cat")),
        (Subset(Pairs(PICTURES), range(6)), ("ant", "bee", "cat")),
        (TensorDataset(FLOATS, torch.tensor(Y)), ("0", "1", "2")),
        (Rows(PICTURES), ("ant", "bee", "cat", "dog")),
        (Rows(X), ("ant", "bee", "cat", "dog")),
        (Streamed(), ("ant", "bee", "cat", "dog")),
        ({"train": Rows(X[:0], []), "test": Rows(PICTURES)}, ("ant", "bee", "cat", "dog")),
        ({"train": 1, "validation": Rows(PICTURES)}, ("ant", "bee", "cat", "dog")),
        (Pairs(PICTURES, ["ant", "bee", "cat"] * 2), ("ant", "bee", "cat")),
        (DataLoader(Pairs(FLOATS), batch_size=4), ("0", "1", "2")),
        ([{"pixel_values": FLOATS, "labels": torch.tensor(Y)}], ("0", "1", "2")),
    ],
)
def test_examples_are_collected(data: Any, classes: tuple[str, ...]) -> None:
    found = dataset_of(data)
    assert torch.equal(found.pixels, PIXELS) and found.y.tolist() == Y
    assert found.source.classes == classes and found.ids.tolist() == list(range(6))


def test_names_of_the_callers_are_first() -> None:
    assert dataset_of(Rows(PICTURES), classes="xyz").source.classes == ("x", "y", "z")
    assert dataset_of(Pairs(PICTURES), classes=5).source.classes == tuple("01234")


def test_pictures_of_all_modes_are_decoded_as_files_are() -> None:
    modes = ["RGB", "L", "P", "RGBA", "CMYK", "1"]
    pictures = [p.convert(mode) for p, mode in zip(PICTURES, modes, strict=True)]
    found = dataset_of(Pairs(pictures))
    for pixels, picture in zip(found.pixels, pictures, strict=True):
        expected = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
        assert np.array_equal(pixels.numpy(), expected)
    assert dataset_of(Pairs([p.convert("L") for p in PICTURES])).shape == (1, 4, 5)


def test_resized_floats_keep_their_values() -> None:
    """A transform's pixels lie between levels; none is rounded."""
    between = FLOATS * 0.999
    found = dataset_of(Pairs(between))
    assert torch.equal(found.pixels, between) and found.source.levels == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Pairs([], []), "there are no examples"),
        (Pairs([*PICTURES[:5], PICTURES[5].resize((9, 9))]), "of one size, got 4x5x3, 9x9x3"),
        (Pairs(FLOATS * 2 - 1), r"x must lie in \[0, 1\].*normalisation belongs into the net"),
        (Pairs(PICTURES, ["ant", "bee", "dgo"] * 2), "no class 'dgo'"),
        (Pairs(PICTURES, [0, 1, None] * 2), "row 2 has no label"),
        (TensorDataset(FLOATS), "item 0 is not .image, label."),
        ({"train": Pairs(PICTURES)}, "have no test part, only train"),
        (SimpleNamespace(), "data must be"),
        ([{"pixel_values": FLOATS}], "a batch has no column label"),
        ([{"x": FLOATS, "a": torch.tensor(Y), "b": torch.tensor(Y)}], "which column is the label"),
    ],
)
def test_what_is_no_data_set_is_one_line(data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        dataset_of(data)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_training_takes_them(monkeypatch) -> None:
    import fftune as ff

    rows = {"train": Rows(PICTURES * 4, Y * 4), "test": Rows(PICTURES)}
    few = {"optimizer.epochs": 1, "optimizer.batch_size": 8, "model": "mlp"}
    done = ff.train("standard", data=rows, settings=few)
    assert done.config.data.name.startswith("memory:") and done.inputs.shape == (3, 4, 5)
    assert hold(rows) == done.config.data.name != hold({"train": Rows(PICTURES)})
    risks = ff.evaluate(done, battery="risks", steps=1, eps=0.1).frame()
    assert len(risks["id"].unique()) == 6
    monkeypatch.setattr("fftune.data.held._HELD", {})
    with pytest.raises(DataError, match="was in the memory of another process"):
        ff.evaluate(done, steps=1)


def test_names_of_a_data_set_stay_where_a_net_has_its_outputs() -> None:
    from fftune.inputs import given_data, given_net

    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(60, 4))
    found = given_data(given_net(net), Rows(PICTURES), "test", None)
    assert isinstance(found, Dataset) and found.source.classes[3] == "dog"
    found = given_data(given_net(net), (FLOATS, torch.tensor(Y)), "test", None)
    assert isinstance(found, Dataset) and found.source.classes == ("0", "1", "2", "3")


def test_a_function_may_return_them_too() -> None:
    parts = parts_from(
        {"train": Rows(PICTURES), "validation": Rows(PICTURES[:2], [1, 0])},
        name="mine",
        spec=DatasetSpec(),
    )
    assert {part: parts[part].y.tolist() for part in parts} == {"train": Y, "test": [1, 0]}
    assert parts["test"].source.classes == ("ant", "bee", "cat", "dog")
