from math import expm1, log1p

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fftune.sweeping.samplers.gap import GapSampler, next_value


def between(a: float, b: float) -> float:
    return pytest.approx(expm1((log1p(a) + log1p(b)) / 2))


def test_the_ends_come_first() -> None:
    assert next_value([], 0, 100) == 0
    assert next_value([(0, None)], 0, 100) == 100
    assert next_value([(0, None), (100, None)], 0, 100) == between(0, 100)


def test_the_largest_rectangle_is_split() -> None:
    """Scaled to the range seen, the areas are .1 x .8 = .08 and .9 x .2 = .18."""
    tried = [(0.0, (0.1, 0.9)), (100.0, (0.2, 0.4)), (9.0, (0.11, 0.5))]
    assert next_value(tried, 0, 100) == between(9, 100)
    tried[2] = (9.0, (0.19, 0.8))  # .9 x .2 on the left, .1 x .8 on the right
    assert next_value(tried, 0, 100) == between(0, 9)


def test_a_running_trial_is_predicted_on_the_line() -> None:
    """Without it the left gap is largest; split at its middle it holds two quarters of .36."""
    tried = [(0.0, (0.0, 1.0)), (9.0, (0.6, 0.4)), (100.0, (1.0, 0.0))]
    middle = expm1((log1p(0) + log1p(9)) / 2)
    assert next_value(tried, 0, 100) == pytest.approx(middle)
    # .3 x .3 twice on the left against .4 x .4 on the right
    assert next_value([*tried, (middle, None)], 0, 100) == between(9, 100)


def test_neighbours_too_close_are_left_alone() -> None:
    tried = [(0.0, (0.0, 1.0)), (0.01, (0.9, 0.1)), (100.0, (1.0, 0.0))]
    assert next_value(tried, 0, 100) == between(0.01, 100)


def test_without_any_rectangle_the_widest_gap_is_split() -> None:
    same = (0.5, 0.5)
    assert next_value([(0, same), (100, same), (50, same)], 0, 100) == between(0, 50)
    nan = (float("nan"), 0.5)
    assert next_value([(0, nan), (100, nan), (5, None)], 0, 100) == between(5, 100)


@given(
    st.lists(
        st.tuples(
            st.floats(0, 100),
            st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1) | st.just(float("nan"))),
        ),
        max_size=8,
        unique_by=lambda t: t[0],
    )
)
def test_every_proposal_is_in_range_and_not_yet_an_end(tried) -> None:
    value = next_value([*tried, (0.0, (0.1, 0.9)), (100.0, (0.9, 0.1))], 0, 100)
    assert 0 <= value <= 100


def test_as_an_optuna_sampler() -> None:
    """On risks (u, 1 - u) for u = log(1 + lam) scaled, all halves are equal: plain bisection."""
    study = optuna.create_study(directions=["minimize"] * 2, sampler=GapSampler())
    for _ in range(5):
        trial = study.ask()
        u = log1p(trial.suggest_float("lam", 0, 100)) / log1p(100)
        study.tell(trial, (u, 1 - u))
    found = sorted(log1p(t.params["lam"]) / log1p(100) for t in study.trials)
    assert found == pytest.approx([0, 0.25, 0.5, 0.75, 1])


def test_parallel_asks_spread_out() -> None:
    study = optuna.create_study(directions=["minimize"] * 2, sampler=GapSampler())
    asked = [study.ask().suggest_float("lam", 0, 100) for _ in range(5)]
    assert asked[:2] == [0, 100]
    assert len({round(lam, 6) for lam in asked}) == 5


def test_what_it_cannot_sample() -> None:
    one = optuna.create_study(sampler=GapSampler())
    with pytest.raises(ValueError, match="two objectives"):
        one.ask().suggest_float("lam", 0, 1)
    two = optuna.create_study(directions=["minimize"] * 2, sampler=GapSampler())
    with pytest.raises(ValueError, match="float >= 0"):
        two.ask().suggest_int("lam", 0, 1)
    with pytest.raises(ValueError, match="float >= 0"):
        two.ask().suggest_float("lam", -1, 1)
