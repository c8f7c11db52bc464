import math
import warnings
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest
from test_risk import outcomes

from fftune.comparison import (
    Estimate,
    Moved,
    Paired,
    common_mistakes,
    front_gap,
    moved,
    risks_over_seeds,
)
from fftune.errors import DataError
from fftune.outcomes import Outcomes
from fftune.risk import Rate


def friend(y, clean, pert, success=None, ids=None, attack="pgd-20") -> Outcomes:
    """Rows of goal "hypocritical", by hand."""
    frame = outcomes(y, clean, clean, pert, attack=attack).where(goal="hypocritical").table
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


# Both err on images 1 to 4, the first alone on 0, the second alone on 5: of the four, friends
# conceal 1 and 2 of the first net, 2 and 3 and 4 of the second.
ONE = ([0] * 6, [1, 1, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1])
TWO = ([0] * 6, [0, 2, 2, 2, 2, 2], [0, 2, 0, 0, 0, 0])


def test_common_mistakes_by_hand() -> None:
    found = common_mistakes(friend(*ONE), friend(*TWO))
    assert found == Paired(n=4, both=1, gained=1, lost=2)
    assert common_mistakes(friend(*TWO), friend(*ONE)) == Paired(n=4, both=1, gained=2, lost=1)
    assert found.gain == pytest.approx(-1 / 4)


def test_common_mistakes_are_concealed_by_any_friend() -> None:
    y, clean, _ = ONE
    other = friend(y, clean, [1, 1, 1, 0, 1, 0], attack="fgsm")
    both = Outcomes.of([friend(*ONE).table, other.table])
    second = Outcomes.of([friend(*TWO).table, friend(*TWO, attack="fgsm").table])
    assert common_mistakes(both, second) == Paired(n=4, both=2, gained=1, lost=1)


def test_no_mistake_in_common_is_undefined() -> None:
    right = friend([0] * 6, [0] * 6, [0] * 6)
    assert str(common_mistakes(friend(*ONE), right)) == "undefined (n = 0)"


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (friend(*TWO, ids=[0, 1, 2, 3, 4, 6]), "the same attacks on the same images"),
        (friend([0, 0, 0, 0, 0, 1], *TWO[1:]), "the same attacks on the same images"),
        (friend(*TWO, attack="fgsm"), "the same attacks on the same images"),
        (outcomes(*TWO, TWO[2]).where(goal="adversarial"), "by hypocritical rows, one per example"),
        (outcomes(*TWO, TWO[2]), "by hypocritical rows, one per example"),
    ],
)
def test_nets_that_cannot_be_compared(second, message) -> None:
    with pytest.raises(DataError, match=message):
        common_mistakes(friend(*ONE), second)


def test_mcnemar_is_a_coin_on_the_discordant_pairs() -> None:
    """The share of all 2^n ways to fall that are no likelier than this one."""
    for gained, lost in product(range(6), repeat=2):
        ways = Counter(sum(coins) for coins in product((0, 1), repeat=gained + lost))
        extreme = sum(count for count in ways.values() if count <= ways[gained])
        found = Paired(n=100, both=30, gained=gained, lost=lost).p_value
        assert found == pytest.approx(extreme / 2 ** (gained + lost), abs=1e-12)


@given(st.integers(0, 4000), st.integers(0, 4000))
@settings(deadline=None, max_examples=200)
def test_mcnemar_is_scipys(gained: int, lost: int) -> None:
    found = Paired(n=8000, both=0, gained=gained, lost=lost).p_value
    known = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert found == pytest.approx(known, rel=1e-14, abs=1e-300)  # below, numbers lose digits


def test_mcnemar_by_hand() -> None:
    assert Paired(n=100, both=30, gained=8, lost=0).p_value == pytest.approx(2 / 2**8)
    assert Paired(n=100, both=30, gained=0, lost=0).p_value == 1


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((36, 12, 2, 0), (0.0569, 0.3404)),  # Newcombe 1998, table III
        ((14, 5, 0, 22), (0.0115, 0.2265)),  # Altman et al. 2000, table 6.2: .01 to .23
        ((1, 1, 7, 12), (-0.5069, -0.0256)),  # Bentur et al. 2009, in Fagerland et al. 2014
        ((59, 6, 16, 80), (-0.1186, -0.0046)),  # Cavo et al. 2012, in Fagerland et al. 2017
    ],
)
def test_intervals_are_the_published_ones(counts, expected) -> None:
    """Method 10: where the attacks agree, their correlation is corrected for continuity."""
    both, gained, lost, neither = counts
    found = Paired(n=both + gained + lost + neither, both=both, gained=gained, lost=lost).interval
    assert found == pytest.approx(expected, abs=5e-5)


def wilson(count: int, n: int) -> tuple[float, float]:
    z, p = 1.959963984540054, count / n
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)


def newcombe(a: int, b: int, c: int, d: int) -> tuple[float, float]:
    """Method 10 for cells a (both), b (first alone), c (second alone), d (neither)."""
    n = a + b + c + d
    product_of_margins = (a + b) * (c + d) * (a + c) * (b + d)
    cross = a * d - b * c
    if cross > n / 2:
        cross = cross - n / 2
    elif cross >= 0:
        cross = 0
    phi = cross / math.sqrt(product_of_margins) if product_of_margins else 0
    (l1, u1), (l2, u2) = wilson(a + b, n), wilson(a + c, n)
    p1, p2 = (a + b) / n, (a + c) / n
    delta = math.sqrt((p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2)
    epsilon = math.sqrt((u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2)
    return p1 - p2 - delta, p1 - p2 + epsilon


def test_intervals_are_those_of_the_formula_in_every_small_table() -> None:
    for a, b, c, d in product(range(4), repeat=4):
        if a + b + c + d:
            found = Paired(n=a + b + c + d, both=a, gained=b, lost=c).interval
            assert found == pytest.approx(newcombe(a, b, c, d), abs=1e-12)


def test_a_comparison_is_spelt_out() -> None:
    assert str(Paired(n=50, both=36, gained=12, lost=2)) == (
        "+20.0 points (95 % CI +5.7 to +34.0, 12 gained, 2 lost, n = 50, McNemar p = 0.013)"
    )


def test_nothing_to_compare_is_undefined() -> None:
    paired = Paired(n=0, both=0, gained=0, lost=0)
    low, high = paired.interval
    assert math.isnan(paired.gain) and math.isnan(low) and math.isnan(high)


def shuffled(outcomes: Outcomes) -> Outcomes:
    """The same rows from the last to the first."""
    return Outcomes(outcomes.table.take(list(reversed(range(len(outcomes))))))


def test_the_order_of_rows_changes_nothing() -> None:
    a = friend([0] * 4, [1, 1, 0, 0], [0, 1, 0, 1])
    b = friend([0] * 4, [1, 1, 0, 0], [1, 0, 0, 0])
    assert Paired.of(shuffled(a), b) == Paired.of(a, shuffled(b)) == Paired.of(a, b)
    both = risks_over_seeds([a, b], draws=50)
    assert risks_over_seeds([shuffled(a), b], draws=50) == both
    assert risks_over_seeds([a, shuffled(b)], draws=50) == both


def test_other_examples_are_refused() -> None:
    a = friend([0] * 3, [1] * 3, [0] * 3)
    b = friend([0] * 3, [1] * 3, [0] * 3, ids=[0, 1, 3])
    adversary = outcomes([0] * 3, [1] * 3, [0] * 3, [0] * 3).where(goal="adversarial")
    with pytest.raises(DataError, match="same examples"):
        Paired.of(a, b)
    for other in (b, adversary):
        with pytest.raises(DataError, match="same examples"):
            risks_over_seeds([a, other])
        with pytest.raises(DataError, match="same examples"):
            front_gap([[a]], [[other]])


def test_two_rows_an_example_are_refused() -> None:
    twice = Outcomes.of(
        [
            friend([0] * 3, [1] * 3, [0] * 3).table,
            friend([0] * 3, [1] * 3, [0] * 3, attack="other").table,
        ]
    )
    with pytest.raises(DataError, match="same examples, one row per example"):
        Paired.of(twice, twice)
    with pytest.raises(DataError, match="one hypocritical row per example"):
        risks_over_seeds([twice, twice])


def draw_all(seeds: list[Outcomes]) -> dict[str, list[float]]:
    """Both risks in each of the equally likely draws: first of seeds, then of examples.

    The same examples for all seeds, as all nets have seen the same images.
    """
    frames = [o.to_pandas() for o in seeds]
    wrong = [(f["pred_clean"] != f["y"]).tolist() for f in frames]
    hidden = [(f["success"] & (f["pred_clean"] != f["y"])).tolist() for f in frames]
    n, found = len(frames[0]), {"natural_risk": [], "hypocritical_risk": []}
    for drawn in product(range(n), repeat=n):
        wrongs = [sum(w[i] for i in drawn) for w in wrong]
        hiddens = [sum(h[i] for i in drawn) for h in hidden]
        for kept in product(range(len(seeds)), repeat=len(seeds)):
            found["natural_risk"].append(sum(wrongs[s] / n for s in kept) / len(kept))
            if all(wrongs[s] for s in kept):
                ratios = [hiddens[s] / wrongs[s] for s in kept]
                found["hypocritical_risk"].append(sum(ratios) / len(ratios))
    return found


@pytest.mark.parametrize(
    ("clean", "pert"),
    [
        ([[1, 1, 0, 0]], [[0, 1, 0, 0]]),  # one seed: examples alone
        ([[1, 1, 0, 0], [0, 0, 1, 1]], [[0, 1, 0, 0], [0, 0, 0, 1]]),  # opposite mistakes
        ([[1, 1, 1, 1], [0, 0, 0, 1]], [[0, 0, 0, 1], [0, 0, 0, 1]]),  # far apart
        ([[1, 1, 1, 1], [1, 1, 1, 1]], [[0, 0, 0, 0], [1, 1, 1, 1]]),  # all and nothing hidden
        ([[1, 1, 1], [1, 1, 0], [1, 0, 0]], [[0, 0, 0], [0, 1, 0], [1, 0, 0]]),
    ],
)
def test_intervals_over_seeds_are_those_of_every_draw(clean, pert) -> None:
    """The two-level bootstrap, its draws counted one and all: no other level, no other pairing."""
    seeds = [friend([0] * len(c), c, p) for c, p in zip(clean, pert, strict=True)]
    found = risks_over_seeds(seeds, draws=4000)
    for name, every in draw_all(seeds).items():
        every.sort()
        # 4,000 draws hit a quantile to within .0025 x 4: both neighbours bound what is found.
        low = every[int(0.015 * len(every))], every[int(0.035 * len(every))]
        high = every[int(0.965 * len(every))], every[int(0.985 * len(every))]
        assert low[0] - 1e-9 <= found[name].low <= low[1] + 1e-9
        assert high[0] - 1e-9 <= found[name].high <= high[1] + 1e-9


@pytest.mark.some(2)
@pytest.mark.parametrize(("n", "low"), [(6, 1), (8, 1), (12, 3), (40, 14)])
def test_quantiles_are_those_of_the_binomial_distribution(n: int, low: int) -> None:
    """Half of n examples wrong, or half of n seeds: a draw is Bin(n, 1/2) / n in either case.

    n = 6: P(0) = .016, P(<= 1) = .11. n = 8: .004, .035. n = 12: P(<= 2) = .019, P(<= 3) = .073.
    """
    assert binom.cdf(low - 1, n, 0.5) < 0.0205 < 0.0345 < binom.cdf(low, n, 0.5) + 1e-3
    half = [1] * (n // 2) + [0] * (n // 2)
    examples = risks_over_seeds([friend([0] * n, half, half)], draws=4000)
    seeds = risks_over_seeds([friend([0] * 3, [k] * 3, [k] * 3) for k in half], draws=4000)
    for found in (examples["natural_risk"], seeds["natural_risk"]):
        assert (found.low, found.high) == pytest.approx((low / n, 1 - low / n))


def test_one_mistake_is_enough_to_be_concealed() -> None:
    found = risks_over_seeds([friend([0] * 3, [1, 0, 0], [0, 0, 0])], draws=50)["hypocritical_risk"]
    assert (found.mean, found.low, found.high) == (1, 1, 1)


def test_usually_two_thousand_draws_of_seed_0_are_made() -> None:
    nets = [friend([0] * 50, [1] * 20 + [0] * 30, [0] * k + [1] * (50 - k)) for k in (5, 9)]
    assert risks_over_seeds(nets) == risks_over_seeds(nets, draws=2000, seed=0)
    assert risks_over_seeds(nets) != risks_over_seeds(nets, draws=2000, seed=1)


def test_equal_seeds_are_as_one() -> None:
    """Their intervals are those of examples alone: the same images, drawn for all at once."""
    net = friend([0] * 60, [1] * 30 + [0] * 30, [0] * 15 + [1] * 15 + [0] * 30)
    one, four = (risks_over_seeds([net] * k, draws=2000) for k in (1, 4))
    for name in one:
        assert four[name].low == pytest.approx(one[name].low, abs=0.02)
        assert four[name].high == pytest.approx(one[name].high, abs=0.02)
        assert four[name].sd == 0
        assert math.isnan(one[name].sd)


def test_a_seed_without_mistakes_has_a_natural_risk_alone() -> None:
    """Natural risk is 0 for certain; of nothing, no share can be concealed."""
    with warnings.catch_warnings(action="error"):
        found = risks_over_seeds([friend([0] * 5, [0] * 5, [0] * 5)], draws=20)
    natural, hypocritical = found["natural_risk"], found["hypocritical_risk"]
    assert (natural.mean, natural.low, natural.high) == (0, 0, 0)
    assert all(map(math.isnan, (hypocritical.mean, hypocritical.low, hypocritical.high)))
    assert str(hypocritical) == "undefined"


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
    with warnings.catch_warnings(action="error"):
        found = Estimate.of([Rate(30, 100)])
    assert (found.mean, found.low, found.high) == pytest.approx((0.3, *Rate(30, 100).interval))
    assert math.isnan(found.sd)
    assert found.seeds == 1
    assert str(found) == "30.0% (95 % CI 21.9% to 39.6%)"


def test_an_estimate_of_counts_of_several_seeds_has_no_interval() -> None:
    found = Estimate.of([Rate(30, 100), Rate(40, 100)])
    assert (found.mean, found.sd, found.seeds) == pytest.approx((0.35, math.sqrt(0.005), 2))
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    known = Estimate(mean=0.35, sd=0.05, low=0.25, high=0.45, seeds=2)
    assert str(known) == "35.0% (95 % CI 25.0% to 45.0%, sd 5.0% over 2 seeds)"
    assert str(Estimate.of([Rate(0, 0)])) == "undefined"


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


def test_a_front_against_itself_has_no_gap_in_any_draw() -> None:
    """Both sides are asked about the same examples: whatever is drawn, the curves are one."""
    front = steps((20, 8), (60, 12), n=100)
    band = front_gap(front, front, grid=7, draws=100)
    assert (band.gap == 0).all()
    inside = ~np.isnan(band.low)
    assert 3 <= inside.sum() < 7
    assert (band.low[inside] == 0).all() and (band.high[inside] == 0).all()


def test_the_band_spans_seeds_that_differ() -> None:
    """Nothing or all concealed, by seed: one draw in 16 takes the same twice at both ends.

    The second front conceals nothing. Examples alone would give a band of width 0.
    """
    n, front = 400, []
    for wrong in (40, 360):
        clean = [1] * wrong + [0] * (n - wrong)
        front.append([friend([0] * n, clean, pert) for pert in (clean, [0] * n)])
    band = front_gap(front, steps((20, 0), (380, 0), n=n), grid=5, draws=400)
    assert band.natural == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])
    assert band.gap == pytest.approx([0.5] * 5)
    assert band.low[1:-1] == pytest.approx([0] * 3, abs=1e-9)
    assert band.high[1:-1] == pytest.approx([1] * 3)


def test_seeds_of_the_same_trainings_are_drawn_once() -> None:
    """Nothing or all concealed, by seed, on both sides: drawn alike, no draw tells them apart."""
    n, front = 400, []
    for wrong in (40, 360):
        clean = [1] * wrong + [0] * (n - wrong)
        front.append([friend([0] * n, clean, pert) for pert in (clean, [0] * n)])
    apart, alike = (front_gap(front, front, paired=p, grid=5, draws=100) for p in (False, True))
    assert (apart.high[1:-1] > 0.4).all() and (apart.low[1:-1] < -0.4).all()
    assert (alike.high[1:-1] == 0).all() and (alike.low[1:-1] == 0).all()


def test_the_band_is_given_where_nine_in_ten_draws_reach() -> None:
    """Natural risks .2 and .8 of 100 examples: a draw's are Bin(100, .2) and Bin(100, .8)."""
    front = steps((20, 10), (80, 20), n=100)
    band = front_gap(front, front, grid=86, draws=4000)
    reached = [
        binom.cdf(math.floor(100 * g), 100, 0.2) * binom.sf(math.ceil(100 * g) - 1, 100, 0.8)
        for g in band.natural
    ]
    near = [p for p in reached if 0.85 < p < 0.95]
    assert min(near) < 0.88 and max(near) > 0.92
    for p, low, high in zip(reached, band.low, band.high, strict=True):
        if abs(p - 0.9) > 0.02:
            assert math.isnan(low) == math.isnan(high) == (p < 0.9)


def test_a_bands_draws_are_the_same_every_time() -> None:
    first, second = steps((20, 8), (60, 12), n=100), steps((20, 4), (60, 30), n=100)
    one, again = (front_gap(first, second, grid=5, draws=50) for _ in range(2))
    other = front_gap(first, second, grid=5, draws=50, seed=1)
    np.testing.assert_array_equal(one.low, again.low)
    assert not np.array_equal(one.low, other.low, equal_nan=True)
    usual, known = front_gap(first, second), front_gap(first, second, grid=25, draws=1000, seed=0)
    assert len(usual.natural) == 25
    np.testing.assert_array_equal(usual.low, known.low)


def test_fronts_that_share_one_risk_are_not_compared() -> None:
    band = front_gap(steps((100, 80), (200, 80)), steps((200, 100), (500, 100)), draws=10)
    for part in (band.natural, band.gap, band.low, band.high):
        assert len(part) == 0


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
