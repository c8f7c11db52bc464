"""Each class's share of each part, counted by hand, and sizes at the edge of what is possible."""

from collections import Counter

import pytest
import torch
from torch import Tensor

from fftune.config import DataSpec
from fftune.data.splits import split_rows, stratified
from fftune.errors import DataError

UNEVEN = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)[
    torch.randperm(100, generator=torch.Generator().manual_seed(0))
]


def shares(y: Tensor, rows: Tensor) -> dict[int, int]:
    return dict(Counter(y[rows].tolist()))


@pytest.mark.parametrize("seed", [0, 1, 5])
def test_every_class_has_exactly_its_share(seed: int) -> None:
    """Of 60, 30 and 10: halves and fifths that divide, so that nothing is rounded."""
    parts, left = stratified(UNEVEN, {"train": 50, "validation": 20}, seed=seed)
    assert list(parts) == ["train", "validation"]
    assert shares(UNEVEN, parts["train"]) == {0: 30, 1: 15, 2: 5}
    assert shares(UNEVEN, parts["validation"]) == {0: 12, 1: 6, 2: 2}
    assert shares(UNEVEN, left) == {0: 18, 1: 9, 2: 3}
    together = torch.cat([*parts.values(), left])
    assert sorted(together.tolist()) == list(range(100))


def test_equal_seeds_give_equal_parts_and_the_second_part_has_its_own_draw() -> None:
    sizes = {"train": 50, "validation": 20}
    one, again, other = (stratified(UNEVEN, sizes, seed=seed)[0] for seed in (3, 3, 4))
    for name in sizes:
        assert torch.equal(one[name], again[name])
        assert sorted(one[name].tolist()) != sorted(other[name].tolist())


def test_a_part_is_drawn_from_what_earlier_ones_left() -> None:
    """So the first is the same, whatever comes after it."""
    alone, _ = stratified(UNEVEN, {"train": 40}, seed=2)
    for size in (0, 10, 60):
        parts, left = stratified(UNEVEN, {"train": 40, "validation": size}, seed=2)
        assert torch.equal(parts["train"], alone["train"])
        assert len(parts["validation"]) == size and len(left) == 60 - size


@pytest.mark.parametrize("size", [0, 100])
def test_none_and_all_are_taken_as_they_stand(size: int) -> None:
    """Nothing is drawn, so that a set with a class of one can be taken as a whole."""
    y = torch.tensor([0] * 99 + [1])
    parts, left = stratified(y, {"train": size}, seed=0)
    assert parts["train"].tolist() == list(range(size))
    assert left.tolist() == list(range(size, 100))
    assert parts["train"].dtype == left.dtype == torch.int64


@pytest.mark.parametrize("size", [3, 97])
def test_the_smallest_part_holds_every_class_once_on_either_side(size: int) -> None:
    y = torch.arange(100) % 3
    parts, left = stratified(y, {"train": size}, seed=0)
    small = parts["train"] if size == 3 else left
    assert sorted(y[small].tolist()) == [0, 1, 2]


@pytest.mark.parametrize("size", [1, 2, 98, 99, 101, 1000])
def test_a_part_that_cannot_hold_every_class_is_refused(size: int) -> None:
    said = f"^100 examples of 3 classes cannot be split into train {size}$"
    with pytest.raises(DataError, match=said):
        stratified(torch.arange(100) % 3, {"train": size}, seed=0)


def test_what_is_left_for_the_second_part_counts() -> None:
    """Of 6 left, 3 to 3 and all 6 can be had; 4 leaves too few."""
    y = torch.arange(12) % 3
    for size in (0, 3, 6):
        parts, left = stratified(y, {"train": 6, "validation": size}, seed=1)
        assert (len(parts["validation"]), len(left)) == (size, 6 - size)
    said = "12 examples of 3 classes cannot be split into train 6, validation 4"
    with pytest.raises(DataError, match=said):
        stratified(y, {"train": 6, "validation": 4}, seed=1)


def test_labels_need_not_be_counted_from_zero() -> None:
    y = torch.tensor([4, 9]).repeat(20)
    parts, _ = stratified(y, {"train": 2}, seed=0)
    assert sorted(y[parts["train"]].tolist()) == [4, 9]


# What the settings of a data set make of it.


def rows_of(train: int | None, validation: int, *, official: bool, y: Tensor = UNEVEN, seed=0):
    spec = DataSpec(name="hand", train_size=train, validation_size=validation, split_seed=seed)
    return split_rows(y, spec, official_test=official)


@pytest.mark.parametrize(("train", "validation"), [(50, 20), (None, 20), (None, 0), (80, 20)])
def test_with_an_official_test_part_nothing_of_it_is_ours(train, validation) -> None:
    parts = rows_of(train, validation, official=True)
    assert set(parts) == {"train", "validation"}
    expected = 100 - validation if train is None else train
    assert (len(parts["train"]), len(parts["validation"])) == (expected, validation)
    assert not set(parts["train"].tolist()) & set(parts["validation"].tolist())


def test_training_is_drawn_first_where_it_has_a_size() -> None:
    """Then it stays the same, whatever validation takes; else validation is drawn from all."""
    drawn, _ = stratified(UNEVEN, {"train": 50}, seed=6)
    for validation in (10, 20):
        parts = rows_of(50, validation, official=True, seed=6)
        assert torch.equal(parts["train"], drawn["train"])
    held, rest = stratified(UNEVEN, {"validation": 20}, seed=6)
    parts = rows_of(None, 20, official=True, seed=6)
    assert torch.equal(parts["validation"], held["validation"])
    assert torch.equal(parts["train"], rest)


def test_without_an_official_one_test_is_what_is_left() -> None:
    parts = rows_of(50, 20, official=False, seed=6)
    same, left = stratified(UNEVEN, {"train": 50, "validation": 20}, seed=6)
    assert set(parts) == {"train", "validation", "test"}
    assert torch.equal(parts["test"], left)
    assert torch.equal(parts["train"], same["train"])
    assert torch.equal(parts["validation"], same["validation"])


def test_test_must_hold_every_class_too() -> None:
    y = torch.arange(20) % 4
    assert len(rows_of(12, 4, official=False, y=y)["test"]) == 4
    said = "20 examples of 4 classes cannot be split into train 12, validation 8, as 0 are left"
    with pytest.raises(DataError, match=said):
        rows_of(12, 8, official=False, y=y)
    with pytest.raises(DataError, match="train 20, validation 0, as 0 are left for test"):
        rows_of(20, 0, official=False, y=y)
    assert len(rows_of(12, 8, official=True, y=y)["validation"]) == 8


def test_what_trains_must_have_a_size_where_the_rest_is_the_test() -> None:
    with pytest.raises(DataError, match="'hand' has no official test part; name a size"):
        rows_of(None, 20, official=False)
