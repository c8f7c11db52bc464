"""Curves of risk over passes, on rows whose passes are written down."""

import pandas as pd
import pytest

from fftune.report.convergence import (
    convergence_lines,
    convergences,
    curves,
    has_converged,
)
from fftune.risk import Rate


def rows(won, passes, *, goal="adversarial", attack="ensemble", protocol="first_success", n=None):
    """One row an example at risk; those beyond `won` withstand at the full budget of 800 passes."""
    n = len(won) if n is None else n
    found = [*won, *[False] * (n - len(won))]
    cost = [*passes, *[800] * (n - len(passes))]
    right_clean = goal == "adversarial"
    right = [right_clean != one for one in found]
    return pd.DataFrame(
        {
            "id": range(n),
            "attack": attack,
            "goal": goal,
            "protocol": protocol,
            "y": 1,
            "pred_pert": [1 if one else 0 for one in right],
            "mistaken": not right_clean,
            "forwards": [one // 2 for one in cost],
            "backwards": [one - one // 2 for one in cost],
        }
    )


@pytest.mark.parametrize("goal", ["adversarial", "hypocritical"])
def test_a_curve_counts_what_was_found_within_each_share_of_the_passes(goal) -> None:
    (curve,) = curves(rows([True] * 5, [100, 101, 200, 400, 401], goal=goal, n=200))
    assert (curve.n, curve.budget) == (200, 800)
    found = [curve.within(share).count for share in (1 / 8, 1 / 4, 1 / 2, 1)]
    assert found == [1, 3, 4, 5]
    assert curve.late == Rate(1, 200) and has_converged(curve.late)
    assert str(curve) == (
        f"{goal} ensemble: 0.5% at 1/8, 1.5% at 1/4, 2.0% at 1/2, 2.5% at all of 800 passes: "
        "converged"
    )


def test_half_a_point_of_n_may_come_late_and_no_more() -> None:
    assert has_converged(Rate(1, 200)) and not has_converged(Rate(1, 199))
    assert has_converged(Rate(5, 1000)) and not has_converged(Rate(6, 1000))
    assert has_converged(Rate(0, 0))


def test_clean_mistakes_are_no_adversarys_and_right_answers_no_friends() -> None:
    both = rows([True], [10], n=3)
    both.loc[2, ["mistaken", "pred_pert"]] = [True, 0]
    (curve,) = curves(both)
    assert (curve.n, curve.passes) == (2, (10,))


def test_a_few_that_were_searched_twice_do_not_stretch_the_budget() -> None:
    frame = rows([True, False, False, False], [600, 800, 800, 1700])
    (curve,) = curves(frame)
    assert curve.budget == 800 and curve.late.count == 1
    (curve,) = curves(rows([True, True], [10, 30]))
    assert curve.budget == 30 and curve.late.count == 1


def test_the_worst_case_is_late_where_no_search_found_it_early() -> None:
    slow = rows([True, True, False], [700, 700, 800], attack="slow", n=300)
    fast = rows([True, False, False], [100, 800, 800], attack="fast", n=300)
    (worst,) = convergences(pd.concat([slow, fast]))
    assert worst.late == Rate(1, 300)
    assert str(worst) == "adversarial worst case: converged: found late, 1 of n = 300"
    half = rows([True, True, False], [400, 401, 800], attack="half", n=300)
    (worst,) = convergences(half)
    assert worst.late == Rate(1, 300)
    plain = rows([False, False, True], [40] * 3, attack="pgd-20", protocol="last_iterate", n=300)
    canary = rows([False] * 3 + [True], [10] * 4, attack="canary", n=4)
    (worst,) = convergences(pd.concat([slow, fast, plain, canary]))
    assert worst.late == Rate(3, 300)  # nobody knows when those were found
    assert str(worst) == "adversarial worst case: not converged: found late, 3 of n = 300"


def test_searches_that_take_all_their_steps_do_not_tell() -> None:
    plain = rows([True], [40], attack="pgd-20", protocol="last_iterate", n=300)
    assert curves(plain) == [] and convergences(plain)[0].late is None
    assert convergence_lines(plain)[1:] == [
        "    adversarial worst case: not known, as every search takes all its steps"
    ]
    assert convergence_lines(plain.assign(goal="targeted")) == []


def test_where_all_is_found_nothing_can_come_late() -> None:
    """The last of two is found in the second half of the passes, and no third one is left."""
    every = rows([True, True], [10, 30])
    (curve,) = curves(every)
    assert curve.converged and not has_converged(curve.late) and str(curve).endswith(": converged")
    (worst,) = convergences(every)
    assert worst.converged and str(worst).endswith("converged: all of n = 2 are found")
    plain = rows([True, True], [40, 40], attack="pgd-20", protocol="last_iterate")
    (worst,) = convergences(plain)
    assert worst.plain == {"goal": "adversarial", "late": None, "converged": True}
    (worst,) = convergences(rows([True, True], [10, 700], n=3))
    assert worst.converged is False and "found late, 1 of n = 3" in str(worst)
