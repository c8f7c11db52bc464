from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_risk import changed

import fftune as ff
from fftune.auditing import paired_risks
from fftune.auditing.gate import Gate, gate
from fftune.auditing.gate_page import cases, gate_page
from fftune.comparison import Paired
from fftune.errors import ConfigError, DataError
from fftune.outcomes import Outcomes
from fftune.risk import Rate
from tests.two_nets import AFTER, BEFORE, net


def test_four_measures_by_hand() -> None:
    found = gate(BEFORE, AFTER, 0.01)
    told = {
        one.measure: (one.pair.before.rate, one.pair.after.rate, one.pair.gain)
        for one in found.findings
    }
    assert told == {
        "accuracy": (Rate(8, 12), Rate(8, 12), 0.0),
        "robust_accuracy": (Rate(6, 12), Rate(7, 12), pytest.approx(1 / 12)),
        "adversarial_risk": (Rate(2, 8), Rate(1, 8), pytest.approx(1 / 8)),
        "hypocritical_risk": (Rate(2, 4), Rate(1, 4), pytest.approx(1 / 4)),
    }
    accuracy, robust, fooled, concealed = (one.pair for one in found.findings)
    by_counts = Paired(n=12, both=7, gained=1, lost=1), Paired(n=12, both=5, gained=2, lost=1)
    for pair, counts in zip((accuracy, robust), by_counts, strict=True):
        assert pair.interval() == pytest.approx(counts.interval)
    assert fooled.common == Paired(n=7, both=1, gained=1, lost=0)
    assert concealed.common == Paired(n=3, both=1, gained=0, lost=0)
    assert accuracy.common is robust.common is None
    assert (found.n, found.outcome, found.exit_code) == (12, "inconclusive", 4)


def test_gains_change_their_sign_with_the_order() -> None:
    forth, back = gate(BEFORE, AFTER, 0.01), gate(AFTER, BEFORE, 0.01)
    for one, two in zip(forth.findings, back.findings, strict=True):
        assert one.pair.gain == pytest.approx(-two.pair.gain)
        low, high = two.pair.interval()
        wide = 0.03 if one.pair.common else 1e-12  # bootstraps draw anew
        assert one.pair.interval() == pytest.approx((-high, -low), abs=wide)


def counted(before: int, after: int, n: int = 1000, **margins: float) -> Gate:
    """A gate of two nets, of which the one that is right less often is never right alone."""
    return gate(net(range(before), n=n), net(range(after), n=n), margins or {"accuracy": 0.02})


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [
        (900, 910, "pass"),  # better
        (900, 895, "pass"),  # 5 of 1,000 were lost, surely, and 20 were not
        (900, 880, "fail"),
        (900, 885, "fail"),  # a loss, surely; 20 of 1,000 are not excluded
        (900, 899, "pass"),
    ],
)
def test_verdicts_of_accuracy(before: int, after: int, outcome: str) -> None:
    found = counted(before, after)
    assert found.outcome == outcome
    low, high = found.findings[0].pair.interval()
    assert low <= (after - before) / 1000 <= high


def test_too_few_images_are_inconclusive() -> None:
    found = counted(20, 19, n=30)
    assert (found.outcome, found.exit_code) == ("inconclusive", 4)
    assert "does not exclude a loss of 2 points" in found.findings[0].sentence


def test_a_fail_allows_for_the_number_of_measures() -> None:
    before, after = net(range(100), n=200), net(range(94), n=200)
    one = gate(before, after, {"accuracy": 0.01})
    assert one.outcome == "fail"
    four = gate(before, after, 0.01)
    assert four.findings[0].outcome == "inconclusive"
    assert four.findings[0].pair.interval() == one.findings[0].pair.interval()


def test_the_gravest_measure_decides() -> None:
    found = counted(900, 850, accuracy=0.1, robust_accuracy=0.01)
    assert [one.outcome for one in found.findings] == ["pass", "fail"]
    assert (found.outcome, found.exit_code) == ("fail", 3)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 40), st.data())
def test_a_net_is_never_worse_than_itself(n: int, data: st.DataObject) -> None:
    right, changed_ = (data.draw(st.sets(st.integers(0, n - 1))) for _ in range(2))
    same = net(right, changed_, changed_, n=n)
    with patch.object(paired_risks, "DRAWS", 500):
        found = gate(same, same, 0.0)
        assert found.outcome == "inconclusive"
        for one in found.findings:
            low, high = one.pair.interval()
            assert one.outcome == "inconclusive"
            assert low < 0 < high or one.pair.gain != 0  # equal answers prove no equality


def test_a_net_without_mistakes_leaves_their_risk_undefined() -> None:
    perfect = net(range(12), fooled=(1,))
    found = gate(BEFORE, perfect, {"hypocritical_risk": 0.5})
    assert found.outcome == "inconclusive"
    assert "undefined" in found.findings[0].sentence
    (plain,) = gate_page(found).plain["gate"]["measures"]
    assert plain["gain"] is plain["low"] is plain["high"] is None


def test_the_page_and_the_tests_of_a_ci_tell_the_verdicts() -> None:
    found = gate(BEFORE, AFTER, {"accuracy": 0.9, "hypocritical_risk": 0.1}, names=("a", "b"))
    page = gate_page(found)
    assert page.text.startswith("INCONCLUSIVE: b after a\n")
    assert "2 of 4" not in page.text and "50.0 % of 4" in page.text and "25.0 % of 4" in page.text
    assert [(one.name, one.outcome) for one in cases(found)] == [
        ("accuracy not worse by more than 0.9", "pass"),
        ("hypocritical_risk not worse by more than 0.1", "inconclusive"),
    ]
    told = page.plain["gate"]
    assert (told["outcome"], told["n"]) == ("inconclusive", 12)
    assert told["measures"][1]["common"]["n"] == 3
    assert [figure.figure for figure in page.figures] == ["gain/accuracy", "gain/hypocritical_risk"]


def test_gates_are_called_from_python() -> None:
    assert ff.gate is gate


def test_other_images_attacks_and_examples_are_refused() -> None:
    other = Outcomes.of([changed(AFTER.table, "eps", [0.2] * len(AFTER), AFTER.table["eps"].type)])
    friend, adversary = (AFTER.where(goal=goal) for goal in ("hypocritical", "adversarial"))
    for rows, line in (
        (other, "differ in eps: 0.1 and 0.2"),
        (net(range(8), attack="cw"), "differ in attacks: pgd-20 adversarial (full, c)"),
        (net(range(8), split="validation"), "differ in split: test and validation"),
        (net(range(8), n=11), "attacked on other examples (12 and 11, 11 of them the same)"),
        (friend, "differ in attacks: pgd-20 adversarial"),
    ):
        with pytest.raises(DataError) as refused:
            gate(BEFORE, rows, 0.01)
        assert line in str(refused.value)
    with pytest.raises(DataError, match="hypocritical_risk cannot be told from rows without"):
        gate(BEFORE.where(goal="adversarial"), adversary, 0.01)
    hashes = ["m" if i % 2 else "k" for i in range(len(AFTER))]
    two = Outcomes.of([changed(AFTER.table, "model_hash", hashes, AFTER.table["split"].type)])
    with pytest.raises(DataError, match="must be of one net, got 2"):
        gate(BEFORE, two, 0.01)


@pytest.mark.parametrize(
    ("margin", "line"),
    [
        (-0.01, "margin must be a share"),
        (float("nan"), "margin must be a share"),
        ({"accuracy": 1.0}, "margin must be a share"),
        ({}, "measure must be at least one"),
        ({"natural_risk": 0.1}, "measure must be one of"),
    ],
)
def test_margins_out_of_range_are_refused(margin, line: str) -> None:
    with pytest.raises(ConfigError) as refused:
        gate(BEFORE, AFTER, margin)
    assert line in str(refused.value)


def test_labels_must_be_the_same() -> None:
    y = np.where(AFTER.table["id"].to_numpy() == 3, 5, 0).tolist()
    other = Outcomes.of([changed(AFTER.table, "y", y, AFTER.table["y"].type)])
    with pytest.raises(DataError, match="other labels for the same images"):
        gate(BEFORE, other, 0.01)
