import math

import pytest

from fftune.errors import DataError
from fftune.outcomes import Outcomes, rows
from fftune.risk import Rate, RiskCounts

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
