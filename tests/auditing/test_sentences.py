"""Shares in words: bounds are rounded to the side on which they still hold."""

from dataclasses import replace

import pytest

from fftune.auditing.sentences import ceil_percent, floor_percent, sentence, told_bounds
from tests.auditing.records import EXACT, SAMPLED


@pytest.mark.parametrize(
    ("share", "low", "high"),
    [
        (0.2598, "25.9 %", "26.0 %"),
        (0.25, "25.0 %", "25.0 %"),
        (0.003, "0.3 %", "0.3 %"),
        (0.29, "29.0 %", "29.0 %"),  # 290.00000000000006 tenths, as a float
        (0.99999, "99.9 %", "100 %"),
        (0.00001, "0 %", "0.1 %"),
        (1.0, "100 %", "100 %"),
    ],
)
def test_bounds_are_rounded_to_the_safe_side(share: float, low: str, high: str) -> None:
    assert (floor_percent(share), ceil_percent(share)) == (low, high)


def test_every_share_in_thousandths_is_itself() -> None:
    for i in range(1, 1000):
        assert floor_percent(i / 1000) == ceil_percent(i / 1000) == f"{i / 10:.1f} %"


def test_bounds_in_words() -> None:
    assert told_bounds(replace(SAMPLED, low=0.2598, high=0.2851)) == "25.9 % to 28.6 %"
    assert told_bounds(EXACT) == "exact"


def test_an_estimate_is_told_by_what_it_rests_on_first() -> None:
    assert sentence(replace(SAMPLED, low=0.4109)) == (
        "12 of 16 mistakes drawn at random were concealed: of all 40 mistakes at least 41.0 % can "
        "be concealed; at most 30 % is allowed."
    )
