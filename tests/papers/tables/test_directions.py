"""Claims about which of two numbers is larger, decided by hand."""

from math import nan

import pytest

from fftune.papers.artifacts import Measure
from fftune.papers.tables.directions import Larger, constant, direction

MORE, LESS = Measure(mean=60, low=55, high=65), Measure(mean=40, low=35, high=45)


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        (MORE, LESS, True),
        (LESS, MORE, False),
        (Measure(mean=52, low=47, high=57), Measure(mean=48, low=43, high=53), None),
        (Measure(mean=99.9, low=99.1, high=100), constant(99.0), True),
        (Measure(mean=99.9, low=98.9, high=100), constant(99.0), None),
        (Measure(mean=nan), LESS, None),
        (None, constant(99.0), None),
    ],
)
def test_claims_are_decided_by_intervals(
    first: Measure | None, second: Measure, found: bool | None
) -> None:
    assert Larger(what="", first=first, second=second).found is found


def test_the_interval_of_a_difference() -> None:
    """3 and 4 make 5, below and above."""
    first, second = Measure(mean=50, low=47, high=54), Measure(mean=40, low=37, high=44)
    assert Larger(what="", first=first, second=second).interval == (5.0, 15.0)


def test_one_contradiction_is_enough() -> None:
    yes, no = Larger(what="a", first=MORE, second=LESS), Larger(what="b", first=LESS, second=MORE)
    unknown = Larger(what="c", first=None, second=LESS)
    groups: list[list[Larger]] = [[yes, yes], [yes, unknown], [yes, unknown, no], []]
    assert [direction("", group).found for group in groups] == [True, None, False, None]
    assert direction("", [yes, unknown]).seen == "a 60.00 and 40.00; c missing and 40.00"
    assert direction("", [yes] * 6 + [no, unknown]).seen == (
        "as claimed in 6 of 8 comparisons. contrary: b 40.00 and 60.00. "
        "undecided: c missing and 40.00"
    )
