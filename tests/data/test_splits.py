import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from fftune.config import DataSpec
from fftune.data.beton.writer import split_records
from fftune.data.catalog import open_parts
from fftune.data.splits import sized, split_rows, stratified
from fftune.errors import DataError

Y = torch.arange(100) % 4


def spec(train: int | None, validation: int | None, *, seed: int = 0) -> DataSpec:
    return DataSpec(train_size=train, validation_size=validation, split_seed=seed)


SIZES = [(60, 20), (None, 20), (40, 0), (None, 0), (80, 20)]


@pytest.mark.parametrize(("train", "validation"), SIZES)
def test_parts_are_disjoint_stratified_and_of_the_size_asked_for(
    train: int | None, validation: int
) -> None:
    parts = split_rows(Y, spec(train, validation), official_test=True)
    sizes = {"train": 100 - validation if train is None else train, "validation": validation}
    assert {name: len(rows) for name, rows in parts.items()} == sizes
    everything = torch.cat(list(parts.values()))
    assert everything.unique().numel() == everything.numel()
    for rows in parts.values():
        counts = Y[rows].bincount(minlength=4)
        assert counts.max() - counts.min() <= 1


def test_without_an_official_test_part_test_is_what_is_left() -> None:
    parts = split_rows(Y, spec(40, 20), official_test=False)
    assert torch.cat(list(parts.values())).sort().values.tolist() == list(range(100))
    assert len(parts["test"]) == 40


def test_equal_seeds_give_equal_parts_and_others_do_not() -> None:
    def drawn(seed: int) -> list[int]:
        return split_rows(Y, spec(40, 20, seed=seed), official_test=True)["train"].tolist()

    assert drawn(0) == drawn(0) != drawn(1)


@pytest.mark.parametrize(
    ("train", "validation", "official"),
    [(99, 20, True), (3, 20, True), (40, 2, True), (80, 20, False), (None, 10, False)],
)
def test_impossible_sizes_are_refused(train: int | None, validation: int, official: bool) -> None:
    with pytest.raises(DataError, match=r"cannot be split into|no official test part"):
        split_rows(Y, spec(train, validation), official_test=official)


@pytest.mark.parametrize("validation", [None, 0])
def test_nothing_is_divided_unless_it_is_asked_for(validation: int | None) -> None:
    parts = split_rows(Y, spec(None, validation), official_test=False)
    assert parts.keys() == {"test"} and parts["test"].tolist() == list(range(100))
    official = split_rows(Y, spec(None, validation), official_test=True)
    assert official["train"].tolist() == list(range(100)) and not len(official["validation"])


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ((None, None), (30, 10)),
        ((40, None), (40, 10)),
        ((None, 0), (30, 0)),
        ((20, 20), (20, 20)),
    ],
)
def test_sizes_that_nobody_says_are_those_of_the_sets_own_division(
    said: tuple[int | None, int | None], found: tuple[int, int]
) -> None:
    """And of no other set: without a division what is not said stays so."""
    resolved = sized(spec(*said), (30, 10))
    assert (resolved.train_size, resolved.validation_size) == found
    bare = sized(spec(*said), None)
    assert (bare.train_size, bare.validation_size) == (said[0], said[1] or 0)


def test_a_class_with_one_example_cannot_be_divided() -> None:
    with pytest.raises(DataError, match="cannot be split by class"):
        split_rows(torch.tensor([0, 0, 0, 0, 1]), spec(2, 2), official_test=True)


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_the_draw_is_scikit_learns(data: st.DataObject) -> None:
    """Parts of studies that exist stay as they are: tiny, uneven and missing classes, equal
    remainders, and what scikit-learn refuses.
    """
    counts = data.draw(st.lists(st.integers(0, 40), min_size=1, max_size=12))
    y = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    classes, seed = sum(map(bool, counts)), data.draw(st.integers(0, 2**32 - 1))
    assume(len(y) >= 2 * classes > 0)
    y = y[torch.tensor(data.draw(st.permutations(range(len(y)))))]
    size = data.draw(st.integers(classes, len(y) - classes))
    try:
        kept, taken = train_test_split(
            torch.arange(len(y)).numpy(), test_size=size, stratify=y.numpy(), random_state=seed
        )
    except ValueError:
        with pytest.raises(DataError, match="cannot be split by class"):
            stratified(y, {"validation": size}, seed=seed)
        return
    parts, left = stratified(y, {"validation": size}, seed=seed)
    assert parts["validation"].tolist() == taken.tolist()
    assert left.tolist() == kept.tolist()


def test_the_sidecar_names_who_selects_and_who_reports() -> None:
    parts = open_parts("synthetic")
    wanted = spec(800, 100)
    train = split_records(parts["train"], wanted, selection="validation")
    assert {role: record.size for role, record in train.items()} == {"train": 800, "select": 100}
    assert split_records(parts["test"], wanted, selection="validation").keys() == {"report"}


def test_selection_by_the_test_set_is_recorded_as_such() -> None:
    parts = open_parts("synthetic")
    assert "select" not in split_records(parts["train"], spec(800, 100), selection="test")
    test = split_records(parts["test"], spec(800, 100), selection="test")
    assert test["select"] == test["report"]
