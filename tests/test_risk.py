import math
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from fftune.errors import DataError
from fftune.outcomes import Outcomes, rows
from fftune.risk import Rate, RiskCounts, UnionCounts

SUBJECT = {
    "dataset_hash": "d",
    "model_hash": "m",
    "attack": "pgd-20",
    "config_hash": "c",
    "norm": "linf",
    "eps": 0.1,
    "target": -1,
    "seed": 0,
    "restart": 0,
    "protocol": "last_iterate",
    "tier": "full",
    "defense": "none",
    "defense_repeat": 0,
    "success": False,
    "queries": 0,
    "forwards": 20,
    "backwards": 20,
    "distance": 0.1,
    "status": "ok",
}


def changed(table: pa.Table, column: str, values: list, kind: pa.DataType) -> pa.Table:
    """The same rows but for one column."""
    at = table.schema.get_field_index(column)
    return table.set_column(at, pa.field(column, kind), pa.array(values, kind))


def outcomes(y, clean, adv, hyp, split: str = "test", attack: str = "pgd-20") -> Outcomes:
    def part(goal: str, pred: list[int]):
        known = {"split": split, "goal": goal, "attack": attack, "id": list(range(len(y)))}
        return rows(len(y), SUBJECT | known | {"y": y, "pred_clean": clean, "pred_pert": pred})

    return Outcomes.of([part("adversarial", adv), part("hypocritical", hyp)])


# Ten examples of class 0: six right, of which the adversary turns two and the friend spoils one;
# four wrong, of which the friend hides three and the adversary, by accident, mends one.
TEN = outcomes(
    y=[0] * 10,
    clean=[0, 0, 0, 0, 0, 0, 1, 1, 1, 1],
    adv=[1, 2, 0, 0, 0, 0, 1, 1, 1, 0],
    hyp=[0, 0, 0, 0, 0, 3, 0, 0, 0, 1],
)


def test_counted_by_hand() -> None:
    counts = RiskCounts.of(TEN, attack="pgd-20", split="test")
    assert counts == RiskCounts(
        total=10, wrong=4, fooled=2, concealed=3, adv_corrected=1, hyp_broken=1
    )
    assert counts.natural_risk == Rate(4, 10)
    assert counts.adversarial_risk == Rate(2, 6)
    assert counts.hypocritical_risk == Rate(3, 4)
    assert counts.adversarial_risk_all == Rate(6, 10)
    assert counts.hypocritical_risk_all == Rate(9, 10)
    assert counts.clean_accuracy == Rate(6, 10)
    assert counts.adversarial_accuracy == Rate(5, 10)
    assert counts.hypocritical_accuracy == Rate(8, 10)
    assert counts.violations == 2


# Thirty-six of class 0, no two counts alike: of 20 right ones, the adversary turns 6, the friend 2;
# of 16 wrong ones, the adversary mends 3, the friend hides 5.
THIRTY_SIX = outcomes(
    y=[0] * 36,
    clean=[0] * 20 + [1] * 16,
    adv=[1] * 6 + [0] * 14 + [0] * 3 + [1] * 13,
    hyp=[2] * 2 + [0] * 18 + [1] * 11 + [0] * 5,
)


def test_inflation_is_f_minus_d_but_for_what_the_last_iterate_breaks() -> None:
    counts = RiskCounts.of(TEN, attack="pgd-20", split="test")
    assert counts.inflation == Rate(3, 10)
    gap = counts.hypocritical_accuracy.count - counts.clean_accuracy.count
    assert gap == 3 - counts.hyp_broken
    product = counts.natural_risk.value * counts.hypocritical_risk.value
    assert counts.inflation.value == pytest.approx(product)
    union = UnionCounts.of(TEN, split="test")
    assert union.inflation == Rate(4, 10)  # the adversary, by accident, mends the fourth
    assert union.inflation.count == union.ever_right - (union.total - union.wrong)


def test_no_count_is_taken_for_another() -> None:
    counts = RiskCounts.of(THIRTY_SIX, attack="pgd-20", split="test")
    assert counts == RiskCounts(
        total=36, wrong=16, fooled=6, concealed=5, adv_corrected=3, hyp_broken=2
    )
    friend = RiskCounts.of_friend(THIRTY_SIX)
    assert friend == RiskCounts(total=36, wrong=16, concealed=5, hyp_broken=2)
    assert UnionCounts.of(THIRTY_SIX, split="test").violations == 3 + 2


def test_theorems_4_3_and_4_4_hold_exactly() -> None:
    counts = RiskCounts.of(TEN, attack="pgd-20", split="test")
    nat = counts.natural_risk.value
    adv, hyp = counts.adversarial_risk.value, counts.hypocritical_risk.value
    assert counts.adversarial_risk_all.value == pytest.approx(nat + (1 - nat) * adv)
    assert counts.hypocritical_risk_all.value == pytest.approx(1 - (1 - hyp) * nat)


def test_counts_add() -> None:
    counts = RiskCounts.of(TEN, attack="pgd-20", split="test")
    assert counts + RiskCounts() == counts
    assert (counts + counts).hypocritical_risk == Rate(6, 8)
    other = RiskCounts(total=100, wrong=64, fooled=32, concealed=16, adv_corrected=8, hyp_broken=5)
    assert counts + other == RiskCounts(
        total=110, wrong=68, fooled=34, concealed=19, adv_corrected=9, hyp_broken=6
    )


def test_every_count_has_its_rates() -> None:
    """Numbers of which no two sums are equal; the violations are no rate."""
    counts = RiskCounts(
        total=1000, wrong=400, fooled=100, concealed=50, adv_corrected=20, hyp_broken=3
    )
    assert counts.rates() == {
        "natural_risk": Rate(400, 1000),
        "adversarial_risk": Rate(100, 600),
        "hypocritical_risk": Rate(50, 400),
        "inflation": Rate(50, 1000),
        "adversarial_risk_all": Rate(500, 1000),
        "hypocritical_risk_all": Rate(650, 1000),
        "clean_accuracy": Rate(600, 1000),
        "adversarial_accuracy": Rate(520, 1000),
        "hypocritical_accuracy": Rate(647, 1000),
    }
    assert counts.violations == 23


def test_a_friend_alone_is_counted_by_hand() -> None:
    """What an adversary could do is not known, and stays 0."""
    assert RiskCounts.of_friend(TEN) == RiskCounts(total=10, wrong=4, concealed=3, hyp_broken=1)
    assert RiskCounts.of_friend(TEN.where(goal="adversarial")) == RiskCounts()


def test_one_attack_and_one_split_are_counted_alone() -> None:
    other = outcomes([0] * 3, [1] * 3, [1] * 3, [0] * 3, attack="fgsm")
    aside = outcomes([0] * 3, [1] * 3, [1] * 3, [0] * 3, split="validation")
    many = Outcomes.of([TEN.table, other.table, aside.table])
    ten = RiskCounts.of(TEN, attack="pgd-20", split="test")
    assert RiskCounts.of(many, attack="pgd-20", split="test") == ten
    three = RiskCounts(total=3, wrong=3, concealed=3)
    assert RiskCounts.of(many, attack="fgsm", split="test") == three
    assert RiskCounts.of(many, attack="pgd-20", split="validation") == three


def test_several_rows_an_example_are_refused() -> None:
    """As a defense's repeats would be: which of them is the attack's?"""
    twice = Outcomes.of(
        [changed(TEN.table, "defense_repeat", [repeat] * 20, pa.int32()) for repeat in (0, 1)]
    )
    with pytest.raises(DataError, match="several rows per example"):
        RiskCounts.of(twice, attack="pgd-20", split="test")


def test_a_rate_is_spelt_out() -> None:
    assert str(Rate(1234, 10000)) == "12.3% (95 % CI 11.7% to 13.0%, n = 10,000)"
    assert Rate(1, 4).value == 0.25


def test_without_mistakes_hypocritical_risk_is_undefined() -> None:
    counts = RiskCounts(total=5)
    assert math.isnan(counts.hypocritical_risk.value)
    low, high = counts.hypocritical_risk.interval
    assert math.isnan(low) and math.isnan(high)
    assert str(counts.hypocritical_risk) == "undefined (n = 0)"


@pytest.mark.parametrize(("count", "n"), [(0, 10), (3, 10), (10, 10), (173, 175)])
def test_interval_is_wilsons(count: int, n: int) -> None:
    z, p = 1.959963984540054, count / n
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = Rate(count, n).interval
    assert low == pytest.approx((centre - half) / (1 + z * z / n), abs=1e-12)
    assert high == pytest.approx((centre + half) / (1 + z * z / n), abs=1e-12)


@given(st.integers(0, 60_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(deadline=None, max_examples=200)
@example((0, 1))
@example((1, 1))
@example((10_000, 10_000))
def test_interval_is_scipys_to_the_last_bit(counts: tuple[int, int]) -> None:
    count, n = counts
    assume(n)
    interval = binomtest(count, n).proportion_ci(0.95, method="wilson")
    assert Rate(count, n).interval == (interval.low, interval.high)


def test_both_goals_must_speak_of_the_same_examples() -> None:
    with pytest.raises(DataError, match="needs both goals"):
        RiskCounts.of(TEN, attack="pgd-20", split="validation")
    lone = Outcomes(TEN.where(goal="adversarial").table)
    with pytest.raises(DataError, match="needs both goals"):
        RiskCounts.of(lone, attack="pgd-20", split="test")


def battery(y, clean, tables: list[tuple[str, list[int]]]) -> Outcomes:
    """Any number of attacks on the same examples, each with its goal and predictions."""
    return Outcomes.of(
        rows(
            len(y),
            SUBJECT
            | {"split": "test", "id": list(range(len(y))), "attack": f"a{i}", "goal": goal}
            | {"y": y, "pred_clean": clean, "pred_pert": pred},
        )
        for i, (goal, pred) in enumerate(tables)
    )


def test_unions_by_hand() -> None:
    """Eight examples of class 0, the first three right; what each column does to them.

    fooled: 0, 1. concealed: 3, 4. swayed: 3, 4, 5, 7 (7 to another mistake). An adversary mends
    example 3 and a friend spoils 0: two rows betray their goal, and stability's cannot.
    """
    counts = UnionCounts.of(
        battery(
            y=[0] * 8,
            clean=[0, 0, 0, 1, 1, 1, 1, 1],
            tables=[
                ("adversarial", [0, 1, 0, 0, 1, 1, 1, 2]),
                ("hypocritical", [2, 0, 0, 0, 0, 1, 1, 1]),
                ("stability", [0, 0, 0, 1, 0, 3, 1, 1]),
            ],
        ),
        split="test",
    )
    assert counts == UnionCounts(
        total=8,
        wrong=5,
        fooled=2,
        concealed=2,
        changed_wrong=4,
        ever_wrong=7,
        ever_right=5,
        changed=6,
        violations=2,
    )
    assert counts.adversarial_risk == Rate(2, 3)
    assert counts.hypocritical_risk == Rate(2, 5)
    assert counts.stability_risk_all == Rate(6, 8)


@pytest.mark.parametrize(
    ("wrong", "broken"),
    [
        ({"ever_wrong": 6}, "theorem 4.3"),
        ({"ever_right": 6}, "theorem 4.4"),
        ({"changed": 5}, "theorem 4.5"),
        ({"concealed": 4, "ever_right": 7, "changed_wrong": 3, "changed": 5}, "lemma C.1"),
    ],
)
def test_an_identity_that_does_not_hold_is_named(wrong: dict[str, int], broken: str) -> None:
    sound = UnionCounts(
        total=8,
        wrong=5,
        fooled=2,
        concealed=2,
        changed_wrong=4,
        ever_wrong=7,
        ever_right=5,
        changed=6,
        violations=2,
    )
    assert sound.broken_identities() == ()
    assert replace(sound, **wrong).broken_identities() == (broken,)


def test_as_many_concealed_as_changed_wrong_break_nothing() -> None:
    """Lemma C.1 is an inequality, and two classes make it an equality."""
    counts = UnionCounts.of(
        battery([0, 0], [1, 1], [("hypocritical", [0, 1]), ("adversarial", [1, 1])]), split="test"
    )
    assert counts.concealed == counts.changed_wrong == 1
    assert counts.broken_identities() == ()


def lost(table: pa.Table, attack: str, ids: set[int]) -> pa.Table:
    """The rows without one attack's on these examples."""
    pairs = zip(table["attack"].to_pylist(), table["id"].to_pylist(), strict=True)
    return table.filter(pa.array([not (a == attack and i in ids) for a, i in pairs]))


def test_examples_that_an_attack_has_lost_are_left_out() -> None:
    """Examples 0 to 3 right, of which a0 fools 0 and 1; a1 has lost its block of 1 and 2."""
    whole = battery([0] * 4, [0] * 4, [("adversarial", [1, 1, 0, 0]), ("adversarial", [0] * 4)])
    counts = UnionCounts.of(Outcomes.of([lost(whole.table, "a1", {1, 2})]), split="test")
    assert (counts.total, counts.fooled) == (2, 1)
    assert UnionCounts.of(whole, split="test").total == 4


def test_the_canary_may_try_a_few_and_what_it_breaks_counts() -> None:
    whole = battery([0] * 4, [0] * 4, [("adversarial", [0] * 4), ("adversarial", [0, 0, 1, 0])])
    few = lost(whole.table, "a1", {0, 1})
    names = ["canary" if name == "a1" else name for name in few["attack"].to_pylist()]
    canary = changed(few, "attack", names, pa.string())
    counts = UnionCounts.of(Outcomes.of([canary]), split="test")
    assert (counts.total, counts.fooled, counts.ever_wrong) == (4, 1, 1)


def test_a_goal_and_a_target_are_attacks_of_their_own() -> None:
    """One attack towards two classes, of which one lost its second example; a friend's target
    is the example's own label, and tells no attacks apart."""

    def table(goal: str, target: list[int], ids: list[int]) -> pa.Table:
        known = {"split": "test", "id": ids, "goal": goal, "target": target}
        known |= {"y": ids, "pred_clean": ids, "pred_pert": ids}
        return rows(len(ids), SUBJECT | known)

    friend = table("hypocritical", [0, 1, 2], [0, 1, 2])
    assert UnionCounts.of(Outcomes.of([friend]), split="test").total == 3
    both = [table("targeted", [5] * 3, [0, 1, 2]), table("targeted", [6] * 2, [0, 2])]
    assert UnionCounts.of(Outcomes.of([friend, *both]), split="test").total == 2
    few = table("adversarial", [-1], [1])
    assert UnionCounts.of(Outcomes.of([friend, few]), split="test").total == 1


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_theorems_hold_on_unions_of_any_table(data) -> None:
    """4.3, 4.4, 4.5 and lemma C.1, with the risks counted straight from their definitions."""
    n, classes = data.draw(st.integers(1, 12)), data.draw(st.integers(2, 4))
    label = st.lists(st.integers(0, classes - 1), min_size=n, max_size=n)
    goal = st.sampled_from(["adversarial", "hypocritical", "stability"])
    y, clean = data.draw(label), data.draw(label)
    tables = data.draw(st.lists(st.tuples(goal, label), min_size=1, max_size=4))
    counts = UnionCounts.of(battery(y, clean, tables), split="test")
    assert counts.broken_identities() == ()
    tried = [clean, *(pred for _, pred in tables)]
    assert counts.ever_wrong == sum(any(p[i] != y[i] for p in tried) for i in range(n))
    assert counts.ever_right == sum(any(p[i] == y[i] for p in tried) for i in range(n))
    assert counts.changed == sum(any(p[i] != clean[i] for p in tried) for i in range(n))
    mistakes = [i for i in range(n) if clean[i] != y[i]]
    concealed = sum(any(p[i] == y[i] for p in tried) for i in mistakes)
    assert counts.hypocritical_risk == Rate(concealed, len(mistakes))


def test_raw_columns_can_break_the_identities() -> None:
    """Why unions: the adversary's last iterate mends a mistake, and A is no longer 1 - R_adv."""
    counts = RiskCounts.of(TEN, attack="pgd-20", split="test")
    assert 1 - counts.adversarial_accuracy.value != counts.adversarial_risk_all.value
    union = UnionCounts.of(TEN, split="test")
    assert union.violations == counts.violations == 2
    assert union.broken_identities() == ()


def test_unions_of_two_nets_are_refused() -> None:
    one, two = (battery([0, 0], [c, 1], [("adversarial", [0, 0])]).table for c in (0, 1))
    two = changed(two, "attack", ["b"] * 2, pa.string())
    with pytest.raises(DataError, match="more than one model"):
        UnionCounts.of(Outcomes.of([one, two]), split="test")
    with pytest.raises(DataError, match="no outcomes"):
        UnionCounts.of(TEN, split="validation")
