"""Labels of every kind: names, numbers of classes, numbers from 1, and ids."""

import numpy as np
import pytest

from fftune.data.labels import numbering, plain_labels
from fftune.errors import DataError


def numbered(labels, **settings):
    plain = plain_labels(labels, "here")
    found = numbering(plain, "here", **settings)
    return found.classes, found.y(plain, "here").tolist(), found.said


@pytest.mark.parametrize(
    ("labels", "classes", "y"),
    [
        (["b", "A", "a", "10", "9"], ("10", "9", "A", "a", "b"), [4, 2, 3, 0, 1]),
        ([b"dog", "cat"], ("cat", "dog"), [1, 0]),
        (["cafe\u0301", "caf\u00e9", "a"], ("a", "caf\u00e9"), [1, 1, 0]),
        ([0, 1, 2, 1], ("0", "1", "2"), [0, 1, 2, 1]),
        ([10, 2, 0], tuple(map(str, range(11))), [10, 2, 0]),
        ([np.int16(0), np.uint8(1), 2.0, True], ("0", "1", "2"), [0, 1, 2, 1]),
        ([3, 1, 2], ("1", "2", "3"), [2, 0, 1]),
        ([-1, 1, -1], ("-1", "1"), [0, 1, 0]),
        ([2023000007, 12, 2023000001], ("12", "2023000001", "2023000007"), [2, 0, 1]),
        ([0, 10**12], ("0", str(10**12)), [0, 1]),
        ([7], ("7",), [0]),
    ],
)
def test_labels_are_numbered(labels, classes, y) -> None:
    assert numbered(labels)[:2] == (classes, y)


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        ([1, 2, 3], "labels 1 to 3 are classes 0 to 2 in their order"),
        ([900, 7, 90000001], "3 different labels from 7 to 90000001 are classes 0 to 2"),
        ([0, 2], "1 of classes 0 to 2 do not occur"),
        ([0, 1, 2], ""),
        (["1", "2"], ""),
    ],
)
def test_what_was_done_with_numbers_is_one_line(labels, line) -> None:
    said = numbered(labels)[2]
    assert said.startswith(line) and "\n" not in said and bool(said) == bool(line)


def test_an_imagenet_without_its_first_class_is_still_one_if_somebody_says_so() -> None:
    assert numbered([3, 999], count=1000)[:2] == (tuple(map(str, range(1000))), [3, 999])
    names = tuple(f"c{i}" for i in range(5))
    assert numbered([4, 2], names=names)[:2] == (names, [4, 2])


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        ([], {}, "here has no rows"),
        ([0, None], {}, "here, row 1 has no label"),
        ([0, "a"], {}, "numbers in some rows and names in others"),
        ([0, 0.5], {}, "row 1: a label must be a class name or a whole number, got 0.5"),
        ([float("nan")], {}, "must be a class name or a whole number, got nan"),
        ([[1, 2]], {}, "must be a class name or a whole number"),
        ([-1, -1], {}, "2 labels are -1, which marks images without a label"),
        ([0, 1, -1], {}, "1 labels are -1"),
        ([0, 5], {"count": 5}, "label 5 is none of 5 classes from 0"),
        ([0, -2], {"names": ("a", "b")}, "label -2 is none of 2 classes"),
        (["dgo"], {"names": ("cat", "dog")}, "no class 'dgo'; did you mean 'dog'?"),
        (["a", "b"], {"count": 3}, "here has 2 class names, and not 3"),
    ],
)
def test_labels_that_cannot_be_numbered_are_one_line(labels, settings, message) -> None:
    with pytest.raises(DataError, match=message) as caught:
        numbered(labels, **settings)
    assert "\n" not in str(caught.value)


def test_a_million_ids_take_no_time() -> None:
    """Never one class for each number below the largest."""
    classes, y, _ = numbered(list(range(10**15, 10**15 + 50_000)))
    assert len(classes) == 50_000 and y[-1] == 49_999
