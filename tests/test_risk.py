import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    "protocol": "fixed",
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


def outcomes(y, clean, adv, hyp, split: str = "test") -> Outcomes:
    def part(goal: str, pred: list[int]):
        known = {"split": split, "goal": goal, "id": list(range(len(y)))}
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
    assert counts == RiskCounts(total=10, wrong=4, fooled=2, concealed=3, regained=1, spoiled=1)
    assert counts.natural_risk == Rate(4, 10)
    assert counts.adversarial_risk == Rate(2, 6)
    assert counts.hypocritical_risk == Rate(3, 4)
    assert counts.adversarial_risk_all == Rate(6, 10)
    assert counts.hypocritical_risk_all == Rate(9, 10)
    assert counts.clean_accuracy == Rate(6, 10)
    assert counts.adversarial_accuracy == Rate(5, 10)
    assert counts.hypocritical_accuracy == Rate(8, 10)
    assert counts.violations == 2


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


def test_without_mistakes_hypocritical_risk_is_undefined() -> None:
    counts = RiskCounts(total=5)
    assert math.isnan(counts.hypocritical_risk.value)
    assert all(map(math.isnan, counts.hypocritical_risk.interval))
    assert str(counts.hypocritical_risk) == "undefined (n = 0)"


@pytest.mark.parametrize(("count", "n"), [(0, 10), (3, 10), (10, 10), (173, 175)])
def test_interval_is_wilsons(count: int, n: int) -> None:
    z, p = 1.959963984540054, count / n
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = Rate(count, n).interval
    assert low == pytest.approx((centre - half) / (1 + z * z / n), abs=1e-12)
    assert high == pytest.approx((centre + half) / (1 + z * z / n), abs=1e-12)


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
    counts = UnionCounts.of(
        battery(
            y=[0, 0, 0, 0, 0],
            clean=[0, 0, 1, 1, 1],
            tables=[
                ("adversarial", [1, 0, 1, 0, 2]),  # mends the fourth by accident, moves the fifth
                ("hypocritical", [0, 0, 0, 1, 1]),
                ("stability", [0, 0, 1, 1, 1]),
            ],
        ),
        split="test",
    )
    assert (counts.total, counts.wrong) == (5, 3)
    assert (counts.fooled, counts.concealed, counts.swayed) == (1, 2, 3)
    assert (counts.ever_wrong, counts.ever_right, counts.changed) == (4, 4, 4)
    assert counts.violations == 1
    assert counts.stability_risk_all == Rate(4, 5)


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
    one, two = (battery([0], [c], [("adversarial", [0])]).table for c in (0, 1))
    at = two.schema.get_field_index("attack")
    two = two.set_column(at, two.schema.field(at), pa.array(["b"]).cast(two.schema.field(at).type))
    with pytest.raises(DataError, match="more than one net"):
        UnionCounts.of(Outcomes.of([one, two]), split="test")
    with pytest.raises(DataError, match="no outcomes"):
        UnionCounts.of(TEN, split="validation")
