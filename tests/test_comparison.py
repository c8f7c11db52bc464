import math

import numpy as np
import pytest
from test_risk import outcomes

from fftune.comparison import (
    Estimate,
    Moved,
    Paired,
    front_gap,
    moved,
    risk_gap,
    risks_over_seeds,
)
from fftune.errors import DataError
from fftune.outcomes import Outcomes
from fftune.risk import Rate


def friend(y, clean, pert, success=None, ids=None) -> Outcomes:
    """Rows of goal "hypocritical", by hand."""
    frame = outcomes(y, clean, clean, pert).where(goal="hypocritical").table
    won = [p == t for p, t in zip(pert, y, strict=True)] if success is None else success
    at = frame.schema.get_field_index("success")
    frame = frame.set_column(at, "success", [won])
    if ids is not None:
        frame = frame.set_column(frame.schema.get_field_index("id"), "id", [ids])
    return Outcomes.of([frame])


def test_paired_by_hand() -> None:
    a = friend([0] * 6, [1, 1, 1, 1, 1, 0], [0, 0, 0, 1, 1, 0])
    b = friend([0] * 6, [1, 1, 1, 1, 1, 0], [0, 1, 1, 0, 1, 0])
    paired = Paired.of(a, b, wrong_only=True)
    assert paired == Paired(n=5, both=1, gained=2, lost=1)
    assert paired.gain == pytest.approx(1 / 5)
    assert paired.p_value == pytest.approx(1.0)
    assert Paired.of(a, b) == Paired(n=6, both=2, gained=2, lost=1)


def test_mcnemar_is_a_coin_on_the_discordant_pairs() -> None:
    assert Paired(n=100, both=30, gained=8, lost=0).p_value == pytest.approx(2 / 2**8)
    assert Paired(n=100, both=30, gained=0, lost=0).p_value == 1


def test_interval_is_newcombes_published_example() -> None:
    """Newcombe 1998, table III: 36, 12, 2, 0 of 50 gives .20 (.0569 to .3404)."""
    low, high = Paired(n=50, both=36, gained=12, lost=2).interval
    assert (low, high) == pytest.approx((0.0569, 0.3404), abs=6e-4)


def test_nothing_to_compare_is_undefined() -> None:
    paired = Paired(n=0, both=0, gained=0, lost=0)
    assert math.isnan(paired.gain) and all(map(math.isnan, paired.interval))


def test_other_examples_are_refused() -> None:
    a = friend([0] * 3, [1] * 3, [0] * 3)
    b = friend([0] * 3, [1] * 3, [0] * 3, ids=[0, 1, 3])
    with pytest.raises(DataError, match="same examples"):
        Paired.of(a, b)
    with pytest.raises(DataError, match="same examples"):
        risk_gap([a], [b])


def test_gap_of_two_models() -> None:
    n = 400
    y = [0] * n
    half = friend(y, [1] * 200 + [0] * 200, [0] * 150 + [1] * 50 + [0] * 200)
    tenth = friend(y, [0] * 300 + [1] * 100, [0] * 300 + [0] * 30 + [1] * 70)
    gap, low, high = risk_gap([half], [tenth])
    assert gap == pytest.approx(0.75 - 0.3)
    spread = 1.96 * math.sqrt(0.75 * 0.25 / 200 + 0.3 * 0.7 / 100)
    assert low == pytest.approx(0.45 - spread, abs=0.02)
    assert high == pytest.approx(0.45 + spread, abs=0.02)
    assert risk_gap([half], [tenth]) == (gap, low, high)
    same, low, high = risk_gap([half], [half])
    assert same == low == high == 0


def test_seeds_are_a_level_of_their_own() -> None:
    """Nets that differ widely between seeds widen the interval, however many images."""
    y = [0] * 1000
    seeds = [friend(y, [1] * 1000, [0] * k + [1] * (1000 - k)) for k in (200, 500, 800)]
    still = [friend(y, [1] * 1000, [0] * 500 + [1] * 500)]
    _, low, high = risk_gap(seeds, still)
    _, low_pooled, high_pooled = risk_gap([seeds[1]], still)
    assert high - low > 0.3 > 5 * (high_pooled - low_pooled)


def test_estimates_over_seeds_by_hand() -> None:
    """Natural risks .4 and .6; hypocritical risks .5 and 1."""
    y = [0] * 10
    one = friend(y, [1] * 4 + [0] * 6, [0, 0, 1, 1] + [0] * 6)
    two = friend(y, [1] * 6 + [0] * 4, [0] * 10)
    found = risks_over_seeds([one, two], draws=500)
    natural, hypocritical = found["natural_risk"], found["hypocritical_risk"]
    assert natural.mean == pytest.approx(0.5) and natural.sd == pytest.approx(0.2 / math.sqrt(2))
    assert hypocritical.mean == pytest.approx(0.75) and natural.seeds == 2
    assert 0 < natural.low < 0.4 < 0.6 < natural.high < 1
    assert found == risks_over_seeds([one, two], draws=500)


def test_an_estimate_of_one_seed_is_wilsons() -> None:
    found = Estimate.of([Rate(30, 100)])
    assert (found.mean, found.low, found.high) == pytest.approx((0.3, *Rate(30, 100).interval))
    assert math.isnan(found.sd)


def steps(*points: tuple[int, int], n: int = 1000) -> list[list[Outcomes]]:
    """A front of one seed: of n examples so many wrong, and so many of those concealed."""
    return [
        [friend([0] * n, [1] * wrong + [0] * (n - wrong), [0] * hid + [1] * (n - hid))]
        for wrong, hid in points
    ]


def test_the_gap_between_two_fronts() -> None:
    """Risks (.1, .8) (.4, .2) against (.2, .8) (.5, .2): at equal natural risk .2 apart."""
    band = front_gap(steps((100, 80), (400, 80)), steps((200, 160), (500, 100)), draws=200)
    assert (band.natural[0], band.natural[-1]) == pytest.approx((0.2, 0.4))
    assert band.gap == pytest.approx(-0.2)
    inside = ~np.isnan(band.low)
    assert inside.sum() > 15
    assert (band.low[inside] < -0.2).all() and (band.high[inside] > -0.2).all()
    assert (band.high[inside] < 0).all()


def test_fronts_apart_are_not_compared() -> None:
    band = front_gap(steps((100, 80), (200, 80)), steps((300, 100), (500, 100)), draws=10)
    assert len(band.natural) == len(band.gap) == 0


def test_moved_predictions_are_listed_by_hand() -> None:
    a = friend([0] * 4, [1, 1, 1, 0], [0, 2, 1, 0])
    b = friend([0] * 4, [1, 1, 1, 0], [0, 1, 0, 0])
    (two, three) = moved(a, b)
    assert two == Moved(
        id=1, attack=two.attack, goal="hypocritical", target=two.target, pred=(2, 1)
    )
    assert (three.id, three.pred) == (2, (1, 0))
    assert moved(a, a) == ()
    with pytest.raises(DataError, match="same rows"):
        moved(a, friend([0] * 3, [1, 1, 1], [0, 2, 1]))
