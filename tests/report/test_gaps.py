"""What the report says of two fronts, from bands made by hand."""

from dataclasses import replace
from math import nan

import numpy as np
import pytest

from fftune.comparison import GapBand, Paired
from fftune.report.gaps import Common, Gap


def said(gap: list[float], low: list[float], high: list[float]) -> str:
    natural = np.linspace(0.1, 0.5, len(gap))
    band = GapBand(natural=natural, gap=np.array(gap), low=np.array(low), high=np.array(high))
    return str(Gap(("a", "b"), band))


def test_the_verdict_is_about_where_the_band_is() -> None:
    """Of five natural risks the outer two are out of the draws' reach."""
    low, high = [nan, -0.3, -0.2, -0.1, nan], [nan, -0.2, -0.1, 0.1, nan]
    assert said([-0.2] * 5, low, high) == (
        "At equal natural risk (30.0%, the middle of what both fronts reach) the hypocritical risk "
        "of a is 20.0 points below that of b (95 % band -20.0 to -10.0). From 20.0% to 40.0%, "
        "where nine in ten draws reach, a is better on 67% of the range, pointwise."
    )


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        ([-0.1] * 3, [0.1] * 3, "reach, the band holds zero everywhere: no winner."),
        ([0.1] * 3, [0.2] * 3, "reach, b is better on 100% of the range, pointwise."),
        ([-0.2, nan, 0.1], [-0.1, nan, 0.2], "a is better on 50% and b is better on 50% of the"),
        ([nan] * 3, [nan] * 3, "(no band: too few draws reach it). From 10.0% to 50.0% nine in"),
    ],
)
def test_the_other_verdicts(low, high, verdict: str) -> None:
    assert verdict in said([0.0] * 3, low, high)


def test_nothing_in_common() -> None:
    assert said([], [], []) == ("The fronts of a and b share no natural risk: nothing is compared.")


def test_two_nets_on_the_mistakes_that_both_make() -> None:
    paired = Paired(n=100, both=60, gained=5, lost=15)
    common = Common(nets=("trial 3 of a", "trial 1 of b"), natural=(0.2, 0.21), paired=paired)
    assert str(common).startswith(
        "On the 100 mistakes that both trial 3 of a (natural risk 20.0%) and trial 1 of b (21.0%) "
        "make, a false friend conceals 65.0% of the first's and 75.0% of the second's: -10.0 points"
    )
    assert str(replace(common, paired=Paired(n=0, both=0, gained=0, lost=0))) == (
        "trial 3 of a and trial 1 of b make no mistake in common."
    )
