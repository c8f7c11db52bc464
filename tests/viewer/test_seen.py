"""Verdicts, who broke an image, and risks by class, against counts by hand."""

import pytest
from made_rows import made

from fftune.errors import DataError
from fftune.outcomes import Outcomes
from fftune.risk import Rate, UnionCounts
from fftune.viewer.class_risks import class_risks, told_rate, worst_classes
from fftune.viewer.seen import columns, seen

Y = [0, 0, 0, 1, 1, 1]
CLEAN = [0, 0, 1, 1, 0, 0]
SAYS = {
    ("pgd-20", "adversarial"): [1, 0, 1, 1, 0, 0],
    ("cw", "adversarial"): [0, 0, 1, 1, 0, 0],
    ("pgd-20", "hypocritical"): [0, 0, 0, 1, 1, 0],
}


def test_columns_are_by_image_and_null_where_an_attack_was_not_run() -> None:
    says = SAYS | {("strong", "hypocritical"): [None, None, 0, None, 1, 1]}
    (bare,) = seen(made(Y, CLEAN, says, ids=[5, 7, 9, 11, 13, 15]), "test")
    found = columns(bare, [5, 7, 9, 11, 13, 15])
    assert found["clean"] == CLEAN
    by = {(a["name"], a["goal"]): a for a in found["attacks"]}
    assert by["pgd-20", "adversarial"]["pred"] == SAYS["pgd-20", "adversarial"]
    assert by["strong", "hypocritical"]["pred"] == [None, None, 0, None, 1, 1]
    assert by["strong", "hypocritical"]["won"] == [None, None, 1, None, 1, 1]
    assert all(a["counts"] for a in found["attacks"])


def test_risks_by_class_are_counts_by_hand() -> None:
    (bare,) = seen(made(Y, CLEAN, SAYS), "test")
    found = {r.label: (r.natural, r.adversarial, r.hypocritical) for r in class_risks(bare)}
    assert found == {
        None: (Rate(3, 6), Rate(1, 3), Rate(2, 3)),
        0: (Rate(1, 3), Rate(1, 2), Rate(1, 1)),
        1: (Rate(2, 3), Rate(0, 1), Rate(1, 2)),
    }


def test_risks_of_all_classes_are_those_of_a_report() -> None:
    outcomes = made(Y, CLEAN, SAYS)
    union = UnionCounts.of(outcomes, split="test")
    whole = class_risks(seen(outcomes, "test")[0])[0]
    assert whole.adversarial == union.adversarial_risk
    assert whole.hypocritical == union.hypocritical_risk
    assert whole.natural == Rate(union.wrong, union.total)


def test_an_image_that_an_attack_left_out_is_no_survivor() -> None:
    lost = [None, 0, 1, 1, 0, 0]  # the block of image 0, which pgd fools, was lost
    says = SAYS | {("pgd-20", "adversarial"): lost}
    whole = class_risks(seen(made(Y, CLEAN, says), "test")[0])[0]
    assert whole.adversarial == Rate(0, 2)
    assert whole.natural == Rate(3, 6)


def test_attacks_on_mistakes_alone_leave_natural_risk_known() -> None:
    says = {("clean", "adversarial"): CLEAN, ("cw", "hypocritical"): [None, None, 0, None, 1, 0]}
    (bare,) = seen(made(Y, CLEAN, says), "test")
    whole = class_risks(bare)[0]
    assert whole.hypocritical == Rate(2, 3)
    assert whole.adversarial.n == 0


def test_the_worst_class_is_the_one_that_is_surely_bad() -> None:
    """One image of class 2 was wrong: 100 %, of which nobody knows anything."""
    y = [0] * 40 + [1] * 40 + [2]
    clean = [0] * 38 + [1] * 2 + [1] * 20 + [0] * 20 + [0]
    says = {("pgd", "hypocritical"): clean}
    risks = class_risks(seen(made(y, clean, says), "test")[0])
    said = list(worst_classes(risks, ("cat", "dog", "eel")))
    assert said == ["It errs most on dog (class 1): 50.0 % (35.2 to 64.8), n = 40."]


def test_behind_a_defense_its_own_clean_answer_counts_and_controls_do_not() -> None:
    behind = {"defense": "hedge", "pred_clean_defended": [1, 0, 1, 1, 1, 0]}
    parts = [
        made(Y, CLEAN, {("pgd-20", "hypocritical"): SAYS["pgd-20", "hypocritical"]}),
        *(
            made(Y, CLEAN, {key: [0, 0, 0, 1, 1, 1]}, **behind, defense_repeat=draw)
            for draw in range(2)
            for key in (("pgd-20", "hypocritical"), ("random-start", "adversarial"))
        ),
    ]
    bare, hedged = seen(Outcomes.of(part.table for part in parts), "test")
    assert (bare.title, hedged.title) == ("the net alone", "behind hedge, draw 1 of 2")
    found = columns(hedged, list(range(6)))
    assert found["clean"] == [1, 0, 1, 1, 1, 0]
    assert [a["counts"] for a in found["attacks"]] == [True, False]
    assert found["attacks"][0]["won"] == [2] * 6
    whole = class_risks(hedged)[0]
    assert (whole.natural, whole.hypocritical) == (Rate(3, 6), Rate(3, 3))


def test_seeds_and_tiers_of_one_attack_have_names_of_their_own() -> None:
    key = {("pgd-20", "adversarial"): CLEAN}
    parts = [made(Y, CLEAN, key), made(Y, CLEAN, key, seed=1)]
    (bare,) = seen(Outcomes.of(part.table for part in parts), "test")
    names = [a["name"] for a in columns(bare, list(range(6)))["attacks"]]
    assert names == ["pgd-20, seed 0", "pgd-20, seed 1"]


def test_rows_of_two_nets_are_refused() -> None:
    parts = [made(Y, CLEAN, SAYS), made(Y, CLEAN, SAYS, model_hash="other")]
    with pytest.raises(DataError, match="rows are of several nets: a view shows one"):
        seen(Outcomes.of(part.table for part in parts), "test")


@pytest.mark.parametrize(
    ("rate", "told"),
    [
        (Rate(320, 1088), "29.4 % (26.8 to 32.2), n = 1,088"),
        (Rate(0, 0), "undefined (n = 0)"),
    ],
)
def test_rates_are_told_with_their_interval(rate: Rate, told: str) -> None:
    assert told_rate(rate) == told
