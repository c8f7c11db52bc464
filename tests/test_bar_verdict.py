from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fftune.errors import ConfigError
from fftune.risk import Rate
from fftune.verdict import conclusive_from, judge, worst


# Wilson's interval of a perfect score begins at n / (n + 3.8414588): of 3,837 images below .999.
@pytest.mark.parametrize(
    ("rate", "outcome", "point", "code"),
    [
        (Rate(3838, 3838), "pass", "pass", 0),
        (Rate(3837, 3837), "inconclusive", "pass", 4),
        (Rate(9990, 10_000), "inconclusive", "pass", 4),  # the bar itself: a pass, as published
        (Rate(9989, 10_000), "inconclusive", "fail", 4),
        (Rate(9970, 10_000), "fail", "fail", 3),
        (Rate(9438, 10_000), "fail", "fail", 3),  # Tao et al. 2022: Quality, clean
        (Rate(10_000, 10_000), "pass", "pass", 0),  # and touched
        (Rate(0, 0), "inconclusive", "inconclusive", 4),
    ],
)
def test_a_bar_of_three_nines(rate, outcome, point, code) -> None:
    found = judge(rate, 0.999)
    assert (found.outcome, found.point, found.exit_code) == (outcome, point, code)


def test_the_ends_of_the_interval_decide() -> None:
    rate = Rate(90, 100)
    low, high = rate.interval
    assert judge(rate, low).outcome == "pass"
    assert judge(rate, low + 1e-9).outcome == "inconclusive"
    assert judge(rate, high).outcome == "inconclusive"
    assert judge(rate, high + 1e-9).outcome == "fail"


def test_images_that_a_perfect_score_needs() -> None:
    assert conclusive_from(0.999) == 3838
    assert conclusive_from(0.99) == 381  # 3.8414588 x 99 = 380.3
    assert conclusive_from(0.5) == 4
    assert conclusive_from(0.01) == 1


@given(st.floats(0.001, 0.9999))
def test_none_fewer_would_do(bar: float) -> None:
    n = conclusive_from(bar)
    assert judge(Rate(n, n), bar).outcome == "pass"
    assert n == 1 or judge(Rate(n - 1, n - 1), bar).outcome == "inconclusive"


@given(st.integers(0, 300), st.integers(1, 300), st.floats(0.01, 0.99))
def test_no_interval_contradicts_its_point(count: int, n: int, bar: float) -> None:
    found = judge(Rate(min(count, n), n), bar)
    assert found.outcome in (found.point, "inconclusive")


def test_the_gravest_of_several() -> None:
    assert worst(["pass", "inconclusive", "fail", "pass"]) == "fail"
    assert worst(["inconclusive", "pass"]) == "inconclusive"
    assert worst(["pass"]) == worst([]) == "pass"


@pytest.mark.parametrize("bar", [0, 1, 99.9, -0.5, nan])
def test_a_bar_that_is_none(bar) -> None:
    with pytest.raises(ConfigError, match=r"^bar must be a share in \(0, 1\), as in .999, got"):
        judge(Rate(1, 2), bar)
