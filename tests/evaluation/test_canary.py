"""Size of the canary: known answers of the hypergeometric arithmetic, and a simulation."""

from itertools import combinations
from math import comb

import pytest

from fftune.evaluation.canary import ALL_BELOW, POWER, fewest, missed, silence, size, told


@pytest.mark.parametrize(
    ("images", "survivors", "tried"), [(256, 63, 49), (1000, 300, 135), (10_000, 3000, 174)]
)
def test_fewest_survivors_that_show_half_a_point_at_95_percent(images, survivors, tried) -> None:
    """Of .5 points, rounded up to whole images, one at least is drawn in 95 of 100 draws."""
    assert fewest(images, survivors, power=1) == tried
    hidden = -(-images // 200)
    for number, enough in ((tried, True), (tried - 1, False)):
        none = comb(survivors - hidden, number) / comb(survivors, number)
        assert (none <= 0.05) == enough


def test_all_survivors_are_tried_below_a_thousand_images() -> None:
    assert size(ALL_BELOW - 1, 300) == 300 and size(256, 63) == 63
    assert size(10_000, 3000) == fewest(10_000, 3000) < 3000
    assert size(1000, 0) == size(5, 0) == 0


def test_a_search_that_misses_some_needs_more_of_them() -> None:
    sizes = [fewest(10_000, 3000, power) for power in (1, 0.9, 0.5)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]
    assert fewest(1000, 300, power=0.1) == 300  # no number is enough, so all
    assert fewest(10_000, 3) == 3  # fewer survivors than half a point


def test_silence_is_the_share_of_all_draws_that_show_nothing() -> None:
    """Of seven survivors two are findable, each with probability .75 once it is drawn."""
    draws = list(combinations(range(7), 3))
    expected = sum(0.25 ** sum(i < 2 for i in draw) for draw in draws) / len(draws)
    assert silence(7, 2, 3, 0.75) == pytest.approx(expected)
    assert silence(7, 0, 3, 0.75) == silence(0, 0, 0, 1) == 1
    assert silence(7, 2, 7, 0.75) == 0.25**2
    assert silence(7, 5, 3, 1) == 0


def test_what_may_be_missed_is_the_most_that_chance_allows() -> None:
    assert missed(300, 135, power=1) == 4  # five would have shown
    assert missed(63, 63, power=1) == 0
    assert missed(63, 63, power=0.75) == 2  # .25 ** 2 = .0625
    assert missed(63, 0, power=1) == 63  # nothing was tried
    assert missed(0, 0, power=1) == 0


def test_a_line_says_what_is_ruled_out() -> None:
    points = 100 * missed(300, 135) / 1000
    assert told(1000, 300, 135) == (
        f"canary silent on 135 of 300 survivors: at most {points:.2g} points missed, at 95 %, "
        "by FAB-20 and Square-1000"
    )
    assert 0 < POWER <= 1
