from math import sqrt

import pytest

from fftune.evaluation.defended import CLEAN
from fftune.papers.hedge_defense.claims import claims, is_robust
from fftune.papers.tables.paired_gains import by_image, exceeds, gain
from tests.papers.defended_rows import defended

HEDGE, NONE = [("hedge", "pgd-20")], [("none", "pgd-20")]
RIGHT = {
    ("none", CLEAN): [range(8)],
    ("hedge", CLEAN): [range(8)],
    ("none", "pgd-20"): [range(2)],
    ("none", "cw"): [range(1, 4)],
    ("none", "aware-hedge"): [range(0)],
    ("hedge", "pgd-20"): [range(4), range(6)],
    ("hedge", "cw"): [range(1, 5), range(10)],
    ("hedge", "aware-hedge"): [range(0), range(0)],
}
NET = defended(RIGHT, 10)
TENFOLD = {
    column: [range(10 * ids.start, 10 * ids.stop) for ids in draws]
    for column, draws in RIGHT.items()
}
LARGE = defended(TENFOLD, 100)


def test_an_image_counts_in_as_many_draws_as_it_is_right() -> None:
    found = by_image(NET)
    assert found["hedge", "pgd-20"].tolist() == [1, 1, 1, 1, 0.5, 0.5, 0, 0, 0, 0]
    # Right under both attacks, in the first draw images 1 to 3, in the second 0 to 5.
    assert found["hedge", "worst"].tolist() == [0.5, 1, 1, 1, 0.5, 0.5, 0, 0, 0, 0]
    assert found["none", "worst"].tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]


def test_a_gain_with_its_interval_over_images() -> None:
    net = by_image(NET)
    found = gain([net], HEDGE, NONE)
    assert found is not None and (found.mean, found.n) == (pytest.approx(30), 10)
    each = [0, 0, 100, 100, 50, 50, 0, 0, 0, 0]
    more = [one for one in each for _ in "ab"] + [100, -100, 0, 0]  # half images
    middle = sum(more) / 24
    half = 1.96 * sqrt(sum((one - middle) ** 2 for one in more) / 24 / 12)
    assert (found.low, found.high) == pytest.approx((middle - half, middle + half), abs=1e-3)
    # The same net twice is no more evidence.
    assert gain([net, net], HEDGE, NONE) == found
    back = gain([net], NONE, HEDGE)
    assert back is not None and back.mean == pytest.approx(-30)


def test_missing_columns() -> None:
    assert gain([by_image(NET)], [("random", "cw")], [("none", "cw")]) is None
    assert exceeds("it rises", None).found is None


def test_verdicts_by_the_interval() -> None:
    found = gain([by_image(LARGE)], HEDGE, NONE)
    assert found is not None
    assert exceeds("it rises", found).found is True
    assert exceeds("it rises", found, 60).found is False
    assert exceeds("it rises", found, 31).found is None
    assert exceeds("it rises", found).seen.startswith("+30.00 points (95 % CI +")


@pytest.mark.parametrize(("images", "decided"), [(48, None), (1000, True)])
def test_a_few_unchanged_images_do_not_prove_that_a_defense_is_free(images, decided) -> None:
    """The interval of 48 images that all stay right is wider than a point."""
    every = range(images)
    same = {("none", CLEAN): [every], ("hedge", CLEAN): [every], ("none", "pgd-20"): [every]}
    told = claims([by_image(defended(same, images))], ("pgd-20",))
    (cost,) = (one for one in told if one.claim.startswith("Hedge costs less"))
    assert cost.found is decided and "+0.00 points" in cost.seen


def test_claims_are_about_robust_nets() -> None:
    weak = defended({("none", CLEAN): [range(100)], ("none", "pgd-20"): [range(10)]}, 100)
    assert not is_robust(by_image(weak))
    assert is_robust(by_image(NET))
    told = claims([by_image(weak), by_image(LARGE)], ("pgd-20", "cw"))
    assert [one.found for one in told if "under PGD" in one.claim] == [True]
    assert not any("AutoAttack" in one.claim and "raises" in one.claim for one in told)
