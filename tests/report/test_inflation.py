"""Inflation of the score in tables, beside the conditional risk."""

import pyarrow as pa
from test_risk import SUBJECT, TEN

from fftune.outcomes import Outcomes, rows
from fftune.report.attack_table import rates
from fftune.report.evaluation_result import friends_of
from fftune.risk import Rate
from tests.report.detail_texts import table


def targeted(count: int) -> Outcomes:
    """PGD at class 1 and at y on mistakes alone, of which it conceals all."""
    known = SUBJECT | {"split": "test", "id": list(range(count)), "y": [0] * count}
    known |= {"pred_clean": [1] * count, "success": True}
    own = rows(count, known | {"goal": "hypocritical", "pred_pert": [0] * count})
    other = rows(count, known | {"goal": "targeted", "target": 1, "pred_pert": [1] * count})
    return Outcomes.of([own, other])


def successful(outcomes: Outcomes) -> Outcomes:
    """The same rows, each a success that reaches its goal."""
    frame = outcomes.to_pandas()
    right = frame["pred_pert"] == frame["y"]
    won = right.where(frame["goal"] == "hypocritical", ~right).tolist()
    at = outcomes.table.schema.get_field_index("success")
    return Outcomes(outcomes.table.set_column(at, "success", pa.array(won)))


def test_concealed_of_all_beside_concealed_of_mistakes() -> None:
    found = rates(successful(TEN))
    assert found["risk/pgd-20 hypocritical"] == Rate(3, 4)
    assert found["inflation/pgd-20 hypocritical"] == Rate(3, 10)
    assert found["worst_case/inflation"] == Rate(4, 10)
    assert "inflation/pgd-20 adversarial" not in found
    said = table(successful(TEN))
    assert "natural x hypocritical risk: 30.0%" in said
    assert "F - D is less, as 1 right ones are broken" in said
    assert "inflation of the score 40.0%" in said


def test_without_a_false_friend_nothing_is_inflated() -> None:
    adversary = successful(TEN).where(goal="adversarial")
    assert not [name for name in rates(adversary) if "inflation" in name]
    assert "inflation" not in table(adversary)


def test_of_mistakes_alone_no_score_is_known() -> None:
    assert not [name for name in rates(targeted(5)) if "inflation" in name]
    assert "inflation" not in table(targeted(5))
    assert not {"clean_accuracy", "worst_case/accuracy"} & rates(targeted(5)).keys()
    assert {"clean_accuracy", "worst_case/accuracy"} <= rates(TEN).keys()
    assert rates(targeted(5))["risk/pgd-20 hypocritical"] == Rate(5, 5)


def test_friends_that_tried_a_few_are_left_out_of_comparisons() -> None:
    few = TEN.where(goal="hypocritical").among([1, 2]).to_pandas().assign(attack="canary")
    canary = pa.Table.from_pandas(few, schema=TEN.table.schema, preserve_index=False)
    both = Outcomes.of([TEN.table, canary])
    assert friends_of(both).values("attack") == {"pgd-20"}
    assert len(friends_of(both)) == 10


def test_what_nobody_tried_is_no_risk_of_zero() -> None:
    """False friends alone tell nothing of adversaries, and adversaries nothing of them."""
    friends = rates(TEN.where(goal="hypocritical"))
    assert not {"worst_case/accuracy", "worst_case/adversarial_risk"} & friends.keys()
    assert {"clean_accuracy", "worst_case/hypocritical_risk"} <= friends.keys()
    found = rates(TEN.where(goal="adversarial"))
    assert {"worst_case/accuracy", "worst_case/adversarial_risk"} <= found.keys()
    assert "worst_case/hypocritical_risk" not in found
