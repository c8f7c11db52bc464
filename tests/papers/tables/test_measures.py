"""Means, deviations and intervals with known values."""

from math import isnan

import pytest

from fftune.papers.tables.measures import broken, inflation, left_out, measure_of, missing
from fftune.risk import Rate, RiskCounts


def test_one_seed_has_wilsons_interval() -> None:
    found = measure_of([Rate(10, 100)])
    assert (found.mean, found.seeds, found.n) == (10.0, 1, 100)
    assert (found.low, found.high) == pytest.approx((5.523, 17.437), abs=1e-3)
    assert isnan(found.sd)


def test_several_seeds_have_students_interval() -> None:
    """Mean 20, sd 10, and 4.3027 is Student's quantile for two degrees of freedom."""
    found = measure_of([Rate(100, 1000), Rate(200, 1000), Rate(300, 1000)])
    assert (found.mean, found.sd, found.seeds, found.n) == pytest.approx((20.0, 10.0, 3, 1000))
    assert found.low == 0.0
    assert found.high == pytest.approx(20 + 4.3027 * 10 / 3**0.5, abs=1e-3)


def test_seeds_that_agree_do_not_make_more_examples() -> None:
    one, five = measure_of([Rate(50, 100)]), measure_of([Rate(50, 100)] * 5)
    assert (five.low, five.high, five.sd) == (one.low, one.high, 0.0)


def test_undefined_rates_are_left_out_and_said() -> None:
    rates = [Rate(1, 4), Rate(0, 0)]
    assert measure_of(rates) == measure_of([Rate(1, 4)])
    assert left_out(rates) == "undefined (n = 0) for 1 of 2 seeds"
    assert left_out(rates[:1]) == ""
    assert isnan(measure_of([Rate(0, 0)]).mean)


def test_inflation_is_what_the_friend_adds_to_the_score() -> None:
    counts = RiskCounts(total=200, wrong=40, concealed=30)
    found = inflation([counts])
    accuracies = counts.hypocritical_accuracy.value - counts.clean_accuracy.value
    risks = counts.natural_risk.value * counts.hypocritical_risk.value
    assert found.mean == pytest.approx(15.0)
    assert found.mean == pytest.approx(100 * accuracies)
    assert found.mean == pytest.approx(100 * risks)
    assert found.n == 200
    assert found.low == pytest.approx(10.71, abs=0.01)
    assert broken([counts]) == ""


def test_examples_that_the_friend_breaks_are_counted() -> None:
    counts = RiskCounts(total=200, wrong=40, concealed=30, hyp_broken=2)
    assert inflation([counts]).mean == pytest.approx(15.0)
    assert broken([counts] * 2) == "4 of 400 examples are correct until they are helped"


def test_a_missing_number_says_why() -> None:
    found = missing("the training failed")
    assert (found.ours, found.verdict, found.reason) == (None, "none", "the training failed")
