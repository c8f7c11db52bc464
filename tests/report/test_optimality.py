"""Shares of what all searches found, counted by hand on rows made by hand."""

import pyarrow as pa
import pytest
from test_risk import SUBJECT

from fftune.evaluation.batteries import CANARY_NAME
from fftune.outcomes import Outcomes, rows
from fftune.report.attack_table import shares
from fftune.report.defended_rows import defense_frame
from fftune.report.optimality import defended_shares, share_lines, share_values
from fftune.report.terminal import plain
from fftune.risk import Rate
from tests.report.detail_texts import table

RIGHT, WRONG = 0, 1
KNOWN = SUBJECT | {"split": "test"}


def part(attack: str, pred: dict[int, int], goal: str = "adversarial", **others) -> pa.Table:
    """Rows of an attack on examples of class 0, by id; ids from 6 on are wrong when clean."""
    ids, after = list(pred), list(pred.values())
    clean = [WRONG if i >= 6 else RIGHT for i in ids]
    won = [(p != RIGHT) == (goal == "adversarial") for p in after]
    known = KNOWN | {"attack": attack, "goal": goal, "id": ids, "y": [RIGHT] * len(ids)} | others
    return rows(len(ids), known | {"pred_clean": clean, "pred_pert": after, "success": won})


def preds(*fooled: int) -> dict[int, int]:
    """Predictions of ten examples, of which these are wrong."""
    return {i: WRONG if i in fooled else RIGHT for i in range(10)}


# D+ is 0..5: pgd fools 0 and 1, apgd 1, 2 and 3, so that both find 0..3. D- is 6..9: the friend
# leaves 6 wrong and, as it happens, spoils 0, which is no success of its.
THREE = Outcomes.of(
    [
        part("pgd-20", preds(0, 1, 6, 7, 8, 9), forwards=20, backwards=20),
        part("apgd", preds(1, 2, 3, 6), forwards=[10] * 9 + [19], backwards=[9] * 10),
        part("pgd-20", preds(0, 6), "hypocritical", forwards=5, backwards=4),
    ]
)


def test_shares_of_the_union_of_a_goal() -> None:
    apgd, pgd, friend = shares(THREE)
    assert (apgd.attack, apgd.found) == ("apgd", Rate(3, 4))
    assert (pgd.attack, pgd.found) == ("pgd-20", Rate(2, 4))
    assert (friend.goal, friend.found) == ("hypocritical", Rate(3, 3))
    assert (apgd.tried, apgd.forwards, apgd.backwards) == (10, 109, 90)
    assert apgd.passes == pytest.approx(19.9) and pgd.passes == 40
    assert pgd.seconds is None


def test_of_equal_shares_the_cheaper_comes_first() -> None:
    dear = part("dear", preds(0, 1), forwards=9)
    cheap = part("later", preds(0, 1), forwards=8)
    assert [s.attack for s in shares(Outcomes.of([dear, cheap]))] == ["later", "dear"]


def test_a_mistake_counts_for_no_adversary_and_an_empty_union_has_no_share() -> None:
    (none,) = shares(Outcomes.of([part("pgd-20", preds(6, 7, 8, 9))]))
    assert none.found == Rate(0, 0)
    assert none.plain["share"] is None
    assert plain(share_lines([none])).splitlines()[-1].split()[2:8] == [
        "0",
        "of",
        "0",
        "-",
        "-",
        "20.0",
    ]
    assert share_values([none]) == {"passes/pgd-20 adversarial": 40.0}


def test_an_example_that_a_search_lost_is_left_out_but_not_for_the_canary() -> None:
    lost = part("apgd", {i: p for i, p in preds(2, 3).items() if i != 0})
    canary = part(CANARY_NAME, {4: WRONG, 5: RIGHT})
    found = shares(Outcomes.of([part("pgd-20", preds(0, 1)), lost, canary]))
    assert [(s.attack, s.found, s.tried) for s in found] == [
        ("apgd", Rate(2, 4), 9),
        ("canary", Rate(1, 4), 2),
        ("pgd-20", Rate(1, 4), 9),
    ]
    assert "canary, 2 tried" in plain(share_lines(found))


def test_enough_is_found_within_the_passes_of_the_last_that_is_needed() -> None:
    """Of 40 in the union, 39 are .97 of it: the second dearest of the 40 that were found."""
    cost = {"y": [RIGHT] * 40, "pred_clean": [RIGHT] * 40, "pred_pert": [WRONG] * 40}
    known = KNOWN | {"goal": "adversarial", "id": list(range(40)), "success": True} | cost
    all_ = rows(40, known | {"forwards": list(range(40, 0, -1)), "backwards": 100})
    less = part("short", {i: RIGHT if i < 2 else WRONG for i in range(6)})
    (one,) = shares(Outcomes.of([all_]))
    assert one.found == Rate(40, 40) and one.enough == 139
    assert [s.enough for s in shares(Outcomes.of([all_.slice(0, 6), less]))] == [140, None]


def test_each_class_that_is_aimed_at_has_a_union_of_its_own() -> None:
    def toward(target: int, *won: int) -> pa.Table:
        at = {"split": "test", "goal": "targeted", "target": target, "id": [6, 7, 8]}
        known = SUBJECT | at | {"y": [0] * 3, "pred_clean": [9] * 3, "pred_pert": [target] * 3}
        return rows(3, known | {"success": [i in won for i in (6, 7, 8)]})

    found = shares(Outcomes.of([toward(1, 6), toward(2, 6, 7)]), {("pgd-20", "targeted", 2): 1.5})
    assert [(s.name, s.found, s.seconds) for s in found] == [
        ("pgd-20 to class 1", Rate(1, 1), None),
        ("pgd-20 to class 2", Rate(2, 2), 1.5),
    ]


def test_the_table_tells_weak_searches_at_once() -> None:
    said = table(THREE, {("apgd", "adversarial", -1): 2.0})
    at = said.index("searches by their share")
    lines = [" ".join(line.split()) for line in said[at:].splitlines()]
    assert lines[3] == "adversarial apgd 3 of 4 75.0% - 10.9 + 9.0 109 + 90 2.0 s"
    assert lines[4] == "adversarial pgd-20 2 of 4 50.0% - 20.0 + 20.0 200 + 200 -"
    assert lines[5] == "hypocritical pgd-20 3 of 3 100.0% 9 5.0 + 4.0 50 + 40 -"
    assert "seconds" not in table(THREE)


def test_values_for_charts_and_plain_json() -> None:
    found = shares(THREE, {("pgd-20", "hypocritical", -1): 0.5})
    named = share_values(found)
    assert named["share/apgd adversarial"] == 0.75
    assert named["passes/pgd-20 adversarial"] == 40.0
    assert named["seconds/pgd-20 hypocritical"] == 0.5
    assert "seconds/pgd-20 adversarial" not in named
    assert found[0].plain == {
        "goal": "adversarial",
        "attack": "apgd",
        "protocol": "last_iterate",
        "tier": "full",
        "found": 3,
        "found_by_all": 4,
        "share": 0.75,
        "tried": 10,
        "forwards": 109,
        "backwards": 90,
        "passes_to_enough": None,
        "seconds": None,
    }


def test_behind_a_defense_shares_are_of_its_own_right_answers_and_passes_of_the_search() -> None:
    """A defense that is wrong about 0: of D+ = 1..5, one attack fools 1 and 2, the other 2."""

    def under(attack: str, goal: str, *fooled: int, repeat: int = 0) -> pa.Table:
        behind = {"defense": "hedge", "defense_repeat": repeat, "forwards": 1, "backwards": 1}
        return part(attack, preds(*fooled), goal, **behind)

    both = [
        part("clean", preds(), forwards=1),
        *(under("clean", "adversarial", 0, 6, 7, 8, 9, repeat=draw) for draw in range(3)),
        under("clean", "adversarial", 0, 2, 6, 7, 8, 9, repeat=3),  # a tie is no mistake
        part("apgd", preds(1, 2), forwards=7, backwards=3),
        under("apgd", "adversarial", 0, 1, 2),
        under("apgd", "adversarial", 1, 2, 3, repeat=1),
        part("label-free", preds(), "label_free", forwards=2, backwards=2),
        under("label-free", "label_free", 0, 2),
        part("known-hedge", preds()),
        under("known-hedge", "adversarial", 1, 2, 3, 4, 5),
    ]
    found = defended_shares(defense_frame(Outcomes.of(both)))
    assert list(found) == ["hedge"]
    assert [(s.attack, s.found, s.passes) for s in found["hedge"]] == [
        ("apgd", Rate(2, 2), 10.0),
        ("label-free", Rate(1, 2), 4.0),
    ]
