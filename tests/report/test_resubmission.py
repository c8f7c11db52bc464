"""Random defenses, judged by one draw, by a majority, by any of them, and in expectation."""

from math import sqrt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from fftune.comparison import Paired
from fftune.expectation import Expectation
from fftune.outcomes import Outcomes
from fftune.report.attack_table import rates
from fftune.report.defended_rows import defense_frame, judged, judged_draws, undefended
from fftune.report.defense_rates import defense_expectations, defense_rates
from fftune.report.resubmission import (
    RULES,
    by_image,
    gains,
    of_all,
    of_mistakes,
    of_right,
    robust,
    withstood,
)
from fftune.risk import Rate
from tests.report.detail_texts import defense_table
from tests.report.drawn_rows import Draws, by_hand

CLEAN_DRAWS: Draws = {  # four judged draws, then the four that tell the mistakes
    "none": [[0, 0, 1, 1, 1]],
    "coin": [
        *([0, 0, 0, 1, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 0], [0, 0, 0, 1, 0]),
        *([0, 0, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 0], [0, 1, 0, 1, 1]),
    ],
}
"""Doubts of 0, 1/2, 3/4, 1 and 1/4: D- is of the third and the fourth, as a tie is no mistake."""
ADVERSARY: Draws = {
    "none": [[1, 0, 1, 1, 1]],
    "coin": [[1, 0, 1, 1, 1], [1, 1, 0, 1, 0], [0, 0, 0, 1, 0], [0, 1, 0, 1, 0]],
}
FRIEND: Draws = {
    "none": [[0, 0, 0, 1, 1]],
    "coin": [[0, 0, 0, 1, 0], [0, 0, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 1, 0]],
}
BY_HAND = by_hand(CLEAN_DRAWS, {("a", "adversarial"): ADVERSARY, ("f", "hypocritical"): FRIEND})


def behind(outcomes: Outcomes, attack: str, goal: str = "adversarial") -> pd.DataFrame:
    frame = judged(defense_frame(outcomes))
    chosen = frame["goal"].isin([goal, "control"]) & (frame["attack"] == attack)
    return frame[chosen & (frame["defense"] == "coin")]


def test_draws_that_no_attack_meets_tell_the_mistakes() -> None:
    frame = defense_frame(BY_HAND)
    assert judged_draws(frame) == 4
    doubts = behind(BY_HAND, "a").groupby("id")["doubt"].unique()
    assert [one.tolist() for one in doubts] == [[0], [0.5], [0.75], [1], [0.25]]
    bare = frame[frame["defense"] == "none"].groupby("id")["doubt"].first()
    assert bare.tolist() == [0, 0, 1, 1, 1]


def test_an_adversary_by_hand() -> None:
    """It wins in 2, 2, 1, 4 and 1 of four draws; two of four are no majority."""
    wrong = by_image(behind(BY_HAND, "a"), "wrong")
    assert wrong["one"].tolist() == [True, False, True, True, True]
    assert wrong["majority"].tolist() == [False, False, False, True, False]
    assert wrong["any"].all() and wrong["share"].tolist() == [0.5, 0.5, 0.25, 1, 0.25]
    kept = of_all(withstood(wrong))
    assert (kept.one, kept.majority, kept.any) == (Rate(1, 5), Rate(4, 5), Rate(0, 5))
    assert kept.expectation == Expectation.of([0.5, 0.5, 0.75, 0, 0.75], [1] * 5)
    risk = of_right(wrong)
    assert (risk.one, risk.majority, risk.any) == (Rate(2, 3), Rate(0, 3), Rate(3, 3))
    weights = [1, 0.5, 0.25, 0, 0.75]
    assert risk.expectation == Expectation.of([0.5, 0.5, 0.25, 1, 0.25], weights)
    assert risk.expectation.value == pytest.approx(1 / 2.5)  # (.5 + .25 + .0625 + .1875) / 2.5
    both = of_all(robust(wrong))
    assert (both.one, both.majority, both.any) == (Rate(1, 5), Rate(3, 5), Rate(0, 5))
    assert both.expectation.value == pytest.approx((2.5 - 1) / 5)


def test_a_false_friend_by_hand() -> None:
    """It wins on the two mistakes in three draws of four, and in one."""
    right = by_image(behind(BY_HAND, "f", "hypocritical"), "right")
    risk = of_mistakes(right)
    assert (risk.one, risk.majority, risk.any) == (Rate(1, 2), Rate(1, 2), Rate(2, 2))
    assert risk.expectation.value == pytest.approx((0.5 + 0.75**2 + 0.25 + 0.25) / 2.5)
    assert (risk.expectation.n, risk.expectation.weight) == (4, 2.5)


def test_rates_by_their_names() -> None:
    found, expected = defense_rates(BY_HAND), defense_expectations(BY_HAND)
    assert found["defense/coin/natural_risk"] == Rate(2, 5)
    assert expected["defense/coin/expectation/natural_risk"].value == pytest.approx(0.5)
    for rule, value in (("", 1), ("majority/", 4), ("any/", 0)):
        assert found[f"defense/coin/{rule}accuracy/a adversarial"] == Rate(value, 5)
    # Of clean images: right in the first draw, in half of them or more, and in all.
    for rule, value in (("", 4), ("majority/", 4), ("any/", 2)):
        assert found[f"defense/coin/{rule}clean_accuracy"] == Rate(value, 5)
    # Nothing at all conceals one of two mistakes in the first draw, and in some draw.
    for rule, value in (("", 1), ("majority/", 0), ("any/", 1)):
        assert found[f"defense/coin/{rule}risk/clean hypocritical"] == Rate(value, 2)
    assert found["defense/coin/any/worst_case/inflation"] == Rate(2, 5)
    inflation = expected["defense/coin/expectation/worst_case/inflation"]
    risk = expected["defense/coin/expectation/worst_case/hypocritical_risk"]
    natural = expected["defense/coin/expectation/natural_risk"]
    assert inflation.value == pytest.approx(natural.value * risk.value)
    assert not any("none" in name.split("/") for name in {**found, **expected})


@pytest.mark.parametrize("attack", ["a", "clean"])
def test_judged_draws_move_no_mistake(attack: str) -> None:
    """Whatever attacks and clean images come to in judged draws, D- stays as it is."""
    turned = ADVERSARY | {"coin": [[1 - one for one in draw] for draw in ADVERSARY["coin"]]}
    judged = [[1] * 5] * 4 if attack == "clean" else CLEAN_DRAWS["coin"][:4]
    clean = CLEAN_DRAWS | {"coin": [*judged, *CLEAN_DRAWS["coin"][4:]]}
    other = by_hand(clean, {("a", "adversarial"): turned, ("f", "hypocritical"): FRIEND})
    before, after = (
        defense_frame(one).groupby(["defense", "id"])["doubt"].first() for one in (BY_HAND, other)
    )
    assert before.equals(after)
    assert not other.table.equals(BY_HAND.table)


def test_the_control_of_a_large_battery_moves_no_mistake() -> None:
    """Clean images have as many draws as there are attacks; those after 2 m tell nothing."""
    more = CLEAN_DRAWS | {"coin": [*CLEAN_DRAWS["coin"], [1, 1, 0, 0, 1], [1, 1, 0, 0, 1]]}
    found = by_hand(more, {("a", "adversarial"): ADVERSARY, ("f", "hypocritical"): FRIEND})
    doubts = behind(found, "a").groupby("id")["doubt"].first()
    assert doubts.tolist() == [0, 0.5, 0.75, 1, 0.25]


def test_without_draws_that_tell_them_mistakes_are_unknown() -> None:
    few = CLEAN_DRAWS | {"coin": CLEAN_DRAWS["coin"][:7]}
    found = by_hand(few, {("a", "adversarial"): ADVERSARY, ("f", "hypocritical"): FRIEND})
    assert behind(found, "a")["doubt"].isna().all()
    told = defense_rates(found)
    assert told["defense/coin/risk/a adversarial"].n == 0
    assert told["defense/coin/worst_case/hypocritical_risk"].n == 0
    assert told["defense/coin/accuracy/a adversarial"] == Rate(1, 5)
    assert "defense/coin/worst_case/inflation" not in told
    assert "too few draws of clean images" in defense_table(found)


def test_an_image_that_lost_its_clean_rows_is_of_no_side() -> None:
    frame = BY_HAND.to_pandas()
    lost = (frame["attack"] == "clean") & (frame["id"] == 3)
    told = defense_rates(Outcomes(BY_HAND.table.filter(pa.array(~lost))))
    assert told["defense/coin/natural_risk"] == Rate(1, 4)
    assert told["defense/coin/worst_case/hypocritical_risk"] == Rate(1, 1)
    assert told["defense/coin/worst_case/accuracy"] == Rate(1, 4)


def sure(m: int) -> Outcomes:
    """A defense that answers alike in every draw, as the bare net itself."""
    rng = np.random.default_rng(m)
    clean, adv, other, hyp = (rng.integers(2, size=30).tolist() for _ in range(4))

    def spread(pred: list[int], draws: int) -> Draws:
        return {"none": [pred], "coin": [pred] * draws}

    return by_hand(
        spread(clean, 2 * m),
        {
            ("a", "adversarial"): spread(adv, m),
            ("b", "adversarial"): spread(other, m),
            ("a", "hypocritical"): spread(hyp, m),
        },
    )


@pytest.mark.some(1)
@pytest.mark.parametrize("m", [1, 2, 3])
def test_a_defense_without_chance_has_the_numbers_of_one_draw(m: int) -> None:
    """All columns are those of the same net without a defense."""
    outcomes = sure(m)
    found, expected = defense_rates(outcomes), defense_expectations(outcomes)
    bare = succeeding(undefended(outcomes))
    worst = ("worst_case/accuracy", "worst_case/adversarial_risk")
    plain = {name: rates(bare.where(goal="adversarial"))[name] for name in worst}
    friends = rates(bare.where(goal="hypocritical"))
    plain |= {f"worst_case/{name}": friends[f"worst_case/{name}"] for name in FRIENDS}
    plain |= {k: v for k, v in rates(bare).items() if "worst" not in k and "inflation/" not in k}
    assert len(plain) == 11
    for name, rate in plain.items():
        for rule in ("", "majority/", "any/"):
            assert found[f"defense/coin/{rule}{name}"] == rate, name
        one = expected[f"defense/coin/expectation/{name}"]
        assert (one.value, *one.interval) == pytest.approx((rate.value, *rate.interval)), name
        assert one.weight == rate.n
    said = defense_table(outcomes)
    assert "majority" not in said and "expectation" not in said
    assert ("all 2 draws alike" in said) == (m == 2)
    assert ("behind coin all draws gave the same answers: one is shown" in said) == (m > 1)
    assert ("variance over draws" in said) == ("mean accuracy" in said) == (m == 1)
    assert "(0.00)" not in said


def succeeding(outcomes: Outcomes) -> Outcomes:
    """Rows whose column of successes is filled in, as `by_hand` leaves it out."""
    frame = outcomes.to_pandas()
    right = frame["pred_pert"] == frame["y"]
    won = right.where(frame["goal"] == "hypocritical", ~right)
    at = outcomes.table.schema.names.index("success")
    return Outcomes(outcomes.table.set_column(at, outcomes.table.schema.field(at), pa.array(won)))


FRIENDS = ("hypocritical_risk", "inflation")
CHANCES = np.repeat([0.0, 0.2, 0.5, 0.7, 1.0], 400)
"""How often a random defense is wrong about each of 2,000 images."""


def coins(m: int, chances: NDArray[np.float64] = CHANCES, seed: int = 0) -> Outcomes:
    """A defense that errs by chance, whatever is done to an image."""
    rng = np.random.default_rng(seed)

    def drawn(draws: int) -> list[list[int]]:
        return (rng.random((draws, len(chances))) < chances).astype(int).tolist()

    bare = [[0] * len(chances)]
    clean: Draws = {"none": bare, "coin": drawn(2 * m)}
    attacks = {
        ("a", "adversarial"): {"none": bare, "coin": drawn(m)},
        ("a", "hypocritical"): {"none": bare, "coin": drawn(m)},
    }
    return by_hand(clean, attacks)


def near(found: float, truth: float, n: float) -> None:
    assert abs(found - truth) < 4.5 * sqrt(truth * (1 - truth) / n)


@pytest.mark.some(1)
@pytest.mark.parametrize("m", [1, 3, 5])
def test_a_random_defense_has_the_shares_of_its_chances(m: int) -> None:
    """Wrong with chance p: in more than half of m draws, and in any, in closed form."""
    from scipy.stats import binom

    p = CHANCES
    often = binom.sf(m // 2, m, p)
    seldom = binom.sf(m // 2, m, 1 - p)
    outcomes = coins(m)
    found, expected = defense_rates(outcomes), defense_expectations(outcomes)
    near(found["defense/coin/natural_risk"].value, often.mean(), len(p))
    at = "accuracy/a adversarial"
    near(found[f"defense/coin/{at}"].value, 1 - p.mean(), len(p))
    near(found[f"defense/coin/majority/{at}"].value, 1 - often.mean(), len(p))
    near(found[f"defense/coin/any/{at}"].value, ((1 - p) ** m).mean(), len(p))
    near(expected[f"defense/coin/expectation/{at}"].value, 1 - p.mean(), len(p))
    # D- is drawn, too: an image is one of it with chance `often`, whatever attacks meet.
    at, mistakes = "risk/a hypocritical", often.sum()
    near(found[f"defense/coin/{at}"].value, (often * (1 - p)).sum() / mistakes, mistakes)
    near(found[f"defense/coin/majority/{at}"].value, (often * seldom).sum() / mistakes, mistakes)
    some = (often * (1 - p**m)).sum() / mistakes
    near(found[f"defense/coin/any/{at}"].value, some, mistakes)
    ratio = (p * (1 - p)).sum() / p.sum()
    near(expected[f"defense/coin/expectation/{at}"].value, ratio, p.sum())
    # Resubmitting the clean image does as much as this attack, which does nothing.
    near(found["defense/coin/any/risk/clean hypocritical"].value, some, mistakes)


@pytest.mark.some(6)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("m", [1, 2, 4])
def test_who_comes_back_wins_more(m: int, seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    outcomes = coins(m, rng.random(40), seed)
    found, expected = defense_rates(outcomes), defense_expectations(outcomes)
    for goal in ("adversarial", "hypocritical"):
        one, majority, several = (
            found[f"defense/coin/{rule}risk/a {goal}"] for rule in ("", "majority/", "any/")
        )
        assert one.n == majority.n == several.n
        assert max(one.count, majority.count) <= several.count
        assert 0 <= expected[f"defense/coin/expectation/risk/a {goal}"].value <= 1
    natural = found["defense/coin/natural_risk"]
    for rule in ("", "majority/", "any/"):  # theorem 4.3 of Tao et al. 2022, in every column
        worst, fooled = (
            found[f"defense/coin/{rule}worst_case/{name}"]
            for name in ("accuracy", "adversarial_risk")
        )
        assert worst.n - worst.count == natural.count + fooled.count
        assert found[f"defense/coin/{rule}worst_case/inflation"].count <= natural.count


def test_several_attacks_win_by_one_of_them_under_one_rule() -> None:
    """Each wins in one draw of three, another each time: no point wins a majority."""
    draws = [[[1], [0], [0]], [[0], [1], [0]], [[0], [0], [1]]]
    attacks = {
        (name, "adversarial"): {"none": [[0]], "coin": each}
        for name, each in zip("abc", draws, strict=True)
    }
    found = defense_rates(by_hand({"none": [[0]], "coin": [[0]] * 6}, attacks))
    for rule, lost in (("", 1), ("majority/", 0), ("any/", 1)):
        assert found[f"defense/coin/{rule}worst_case/adversarial_risk"] == Rate(lost, 1)


def test_two_defenses_are_compared_image_by_image() -> None:
    wrong = by_image(behind(BY_HAND, "a"), "wrong")
    still = by_image(behind(BY_HAND, "clean"), "wrong")
    found = gains(withstood(wrong), withstood(still))
    assert tuple(found) == tuple(RULES)
    assert found["one"] == Paired(n=5, both=1, gained=0, lost=3)
    # Of four draws the clean images are wrong in 0, 1, 2, 4 and 0.
    lost = np.array([0.5, 0.5, 0.25, 1, 0.25]) - np.array([0, 0.25, 0.5, 1, 0])
    assert found["expectation"].n == 5
    value = getattr(found["expectation"], "value", None)
    assert value == pytest.approx(-lost.mean())
