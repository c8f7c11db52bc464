"""Fronts of a few trials, worked out on paper, and every field of `front.json`."""

import json
from dataclasses import replace
from math import isnan, nan, sqrt
from typing import Any

import pytest

from fftune.comparison import Estimate
from fftune.errors import StudyError
from fftune.risk import RiskCounts
from fftune.sweeping.front import REFERENCE, Front
from fftune.sweeping.trial_results import (
    RISKS,
    SPLITS,
    Failure,
    SeedResult,
    Stopped,
    TrialResult,
    by_lambda,
    result_from_dict,
    result_to_dict,
)

Z = 1.959963984540054


def wilson(count: int, n: int) -> tuple[float, float]:
    """Wilson 1927 at 95 %, as in any textbook."""
    p, wide = count / n, Z**2 / n
    middle, half = p + wide / 2, Z * sqrt(p * (1 - p) / n + wide / (4 * n))
    return (middle - half) / (1 + wide), (middle + half) / (1 + wide)


def counts(wrong: int, concealed: int, fooled: int = 0, total: int = 100) -> RiskCounts:
    return RiskCounts(total=total, wrong=wrong, concealed=concealed, fooled=fooled)


def point(trial: int, validation: RiskCounts, test: RiskCounts, **settings: Any) -> SeedResult:
    base = {"lam": 10.0 * trial, "seed": 0, "model_hash": f"{trial:016x}"}
    base |= {"train_seconds": 1.5, "evaluate_seconds": 0.5}
    return SeedResult(trial=trial, validation=validation, test=test, **base | settings)


def front(*points: SeedResult, **settings: Any) -> Front:
    base = {"study": "s", "objective": "thrm", "selection": "validation"}
    return Front(results=tuple(points), **base | settings)


A = point(0, counts(10, 10), counts(20, 10))
B = point(1, counts(20, 10), counts(40, 10))
C = point(2, counts(20, 12), counts(10, 0))  # as wrong as B on validation, and more concealed
D = point(3, counts(40, 4), counts(50, 5))


def test_who_is_beaten_in_one_risk_and_equal_in_the_other_is_no_member() -> None:
    assert [t.trial for t in front(D, C, B, A).members] == [0, 1, 3]
    surrogate = replace(B, trial=9)
    assert [t.trial for t in front(A, B, D, surrogate).members] == [0, 1, 9, 3]


def test_the_curve_and_its_area_by_hand() -> None:
    """On validation 1, .5, .1 at .1, .2, .4; on the test split .5, .25, .1 at .2, .4, .5."""
    one = front(A, B, C, D)
    assert one.curve("validation") == [(0.1, 1.0), (0.2, 0.5), (0.4, 0.1)]
    assert one.hypervolume("validation") == pytest.approx(0.8 * 0.5 + 0.6 * 0.4)
    assert one.curve("test") == [(0.2, 0.5), (0.4, 0.25), (0.5, 0.1)]
    expected = 0.8 * 0.5 + 0.6 * 0.25 + 0.5 * 0.15
    assert one.hypervolume("test") == pytest.approx(expected)
    # By the test split C alone would be there, at no risk of concealment.
    best = replace(one, selection="test")
    assert [t.trial for t in best.members] == [2]
    assert best.curve("validation") == [(0.2, 0.6)]
    assert best.hypervolume("test") == pytest.approx(0.9)
    assert REFERENCE == (1, 1) and SPLITS == ("validation", "test")
    assert RISKS == ("natural_risk", "hypocritical_risk")


def test_points_on_another_split_are_sorted_and_none_is_dropped() -> None:
    """Members cross over: the curve follows natural risk on the split that it shows."""
    crossed = front(replace(A, test=counts(60, 30)), B)
    assert [t.trial for t in crossed.members] == [0, 1]
    assert crossed.curve("test") == [(0.4, 0.25), (0.6, 0.5)]


def test_three_risks_make_a_front_of_their_own() -> None:
    """E is beaten by B in two risks and spared by the third, R_adv on D."""
    risks = ("natural_risk", "adversarial_risk_all", "hypocritical_risk")
    b, e = replace(B, validation=counts(20, 10, 60)), point(4, counts(30, 15, 20), counts(30, 15))
    one = front(A, b, e, risks=risks)
    assert [t.trial for t in one.members] == [0, 1, 4]
    assert [t.risks("validation", risks) for t in one.members] == [
        (0.1, 0.1, 1.0),
        (0.2, 0.8, 0.5),
        (0.3, 0.5, 0.5),
    ]
    two = one.against("hypocritical_risk")
    assert two.risks == ("natural_risk", "hypocritical_risk")
    assert [t.trial for t in two.members] == [0, 1]
    adversarial = one.against("adversarial_risk_all")
    assert adversarial.curve("validation") == [(0.1, 0.1)]
    assert adversarial.hypervolume("validation") == pytest.approx(0.81)
    written = one._hypervolumes()
    assert written == {
        "adversarial_risk_all": {
            split: adversarial.hypervolume(split) for split in ("validation", "test")
        },
        "hypocritical_risk": {split: two.hypervolume(split) for split in ("validation", "test")},
    }
    assert two._hypervolumes() == written["hypocritical_risk"]


# Repeated trainings.

SEEDS = (
    point(4, counts(10, 5), counts(40, 10)),
    point(4, counts(30, 3), counts(60, 30), seed=1),
)

ESTIMATED = {
    split: {
        "natural_risk": Estimate(mean=mean, sd=0.01, low=mean - 0.02, high=mean + 0.03, seeds=2),
        "hypocritical_risk": Estimate(mean=0.5 + mean, sd=0.02, low=0.4, high=nan, seeds=2),
    }
    for split, mean in (("validation", 0.15), ("test", 0.25))
}


def test_a_trial_is_the_mean_of_its_seeds() -> None:
    """10 and 30 %; 5 of 10 and 3 of 30: means of .2 and .3, not 8 of 40."""
    repeats = TrialResult(results=SEEDS)
    assert repeats.risks("validation") == pytest.approx((0.2, 0.3))
    assert repeats.risks("test") == pytest.approx((0.5, 0.375))
    found = repeats.estimate("validation", "natural_risk")
    assert found.sd == pytest.approx(sqrt(2) * 0.1) and found.seeds == 2
    assert isnan(found.low) and isnan(found.high)
    single = TrialResult(results=SEEDS[:1]).estimate("test", "hypocritical_risk")
    assert (single.mean, single.seeds) == (0.25, 1) and isnan(single.sd)
    assert (single.low, single.high) == pytest.approx(wilson(10, 40), abs=1e-9)
    assert repeats.risks("test", ("hypocritical_risk",)) == pytest.approx((0.375,))
    assert (repeats.trial, repeats.lam, dict(repeats.settings)) == (4, 40.0, {})


def test_bootstrap_estimates_are_taken_where_there_are_some() -> None:
    one = front(A, *SEEDS, B, estimates={4: ESTIMATED})
    assert [t.trial for t in one.trials] == [0, 4, 1]
    assert [len(t.results) for t in one.trials] == [1, 2, 1]
    assert one.trials[1].risks("validation") == (0.15, 0.65)
    assert one.trials[1].risks("test") == (0.25, 0.75)
    assert one.trials[0].risks("test") == (0.2, 0.5)
    assert [t.trial for t in one.members] == [0, 4, 1]
    assert one.curve("validation") == [(0.1, 1.0), (0.15, 0.65), (0.2, 0.5)]


def test_points_stand_by_lambda_then_trial_then_seed() -> None:
    none = point(7, counts(1, 1), counts(1, 1), lam=None)
    points = [
        point(5, counts(1, 1), counts(1, 1), lam=2.0, seed=1),
        point(2, counts(1, 1), counts(1, 1), lam=3.0),
        point(5, counts(1, 1), counts(1, 1), lam=2.0, seed=0),
        point(9, counts(1, 1), counts(1, 1), lam=0.5),
        point(3, counts(1, 1), counts(1, 1), lam=2.0, seed=4),
        none,
    ]
    found = [(p.trial, p.seed) for p in by_lambda(points)]
    assert found == [(7, 0), (9, 0), (3, 4), (5, 0), (5, 1), (2, 0)]


# What is written.


def full_front() -> Front:
    """With every field away from its default."""
    rich = point(
        6,
        counts(25, 5, 30),
        RiskCounts(total=80, wrong=20, fooled=30, concealed=5, adv_corrected=3, hyp_broken=2),
        lam=None,
        settings={"eps_d": 0.25, "steps": 3},
        seed=2,
        crafted=12_000,
        aware=RiskCounts(total=40, wrong=9, fooled=20, concealed=6, adv_corrected=1, hyp_broken=4),
    )
    return front(
        A,
        rich,
        *SEEDS,
        study="all of it",
        objective="trades",
        selection="test",
        failures=(Failure(trial=8, lam=7.5, settings={"lam": 7.5}, reason="loss is nan"),),
        stopped=(
            Stopped(trial=9, lam=1.5, settings={"lam": 1.5}, epoch=3, epochs_saved=14),
            Stopped(trial=10, epoch=5, epochs_saved=10),
        ),
        estimates={4: ESTIMATED},
    )


def test_every_field_comes_back(tmp_path) -> None:
    one = full_front()
    one.write(tmp_path / one.study / "front.json")
    back = Front.read(tmp_path / one.study / "front.json")
    for name in ("study", "objective", "selection", "results", "failures", "stopped", "risks"):
        assert getattr(back, name) == getattr(one, name), name
    assert back.estimates.keys() == {4}
    for split in SPLITS:
        for rate, estimate in ESTIMATED[split].items():
            found = back.estimates[4][split][rate]
            assert (found.mean, found.sd, found.low) == (estimate.mean, estimate.sd, estimate.low)
            assert found.seeds == 2
            assert found.high == estimate.high or (isnan(found.high) and isnan(estimate.high))
    assert back.epochs_saved == 24
    assert [t.trial for t in back.members] == [t.trial for t in one.members]
    assert back.curve("test") == one.curve("test")


def test_what_a_reader_in_a_hurry_finds(tmp_path) -> None:
    one = full_front()
    one.write(tmp_path / "front.json")
    data = json.loads((tmp_path / "front.json").read_text())
    assert (data["study"], data["objective"], data["selection"]) == ("all of it", "trades", "test")
    assert data["optimistic"] is True and data["reference"] == [1, 1]
    assert data["risks"] == ["natural_risk", "hypocritical_risk"]
    assert data["epochs_saved"] == 24
    assert data["hypervolume"] == {split: one.hypervolume(split) for split in SPLITS}
    # On the test split: .2 and .5; .25 and .25; .25 and .75. The last is beaten.
    assert [(t["trial"], t["seeds"], t["on_front"]) for t in data["trials"]] == [
        (0, [0], True),
        (6, [2], True),
        (4, [0, 1], False),
    ]
    assert [(p["trial"], p["seed"], p["on_front"]) for p in data["points"]] == [
        (0, 0, True),
        (6, 2, True),
        (4, 0, False),
        (4, 1, False),
    ]
    rich = data["trials"][1]
    assert rich["lam"] is None and rich["settings"] == {"eps_d": 0.25, "steps": 3}
    assert rich["test"]["natural_risk"]["mean"] == 0.25
    assert rich["validation"]["hypocritical_risk"]["mean"] == 0.2
    assert rich["test"]["natural_risk"]["sd"] is None  # of one seed
    repeated = data["trials"][2]["test"]["hypocritical_risk"]
    assert repeated == {"mean": 0.75, "sd": 0.02, "low": 0.4, "high": None, "seeds": 2}
    assert set(rich["test"]) == set(RISKS)
    assert data["failures"][0]["reason"] == "loss is nan" and data["failures"][0]["trial"] == 8
    assert [s["epochs_saved"] for s in data["stopped"]] == [14, 10]


def test_a_points_counts_and_rates(tmp_path) -> None:
    rich = full_front().results[1]
    data = result_to_dict(rich)
    test = data["test"]
    expected = {"total": 80, "wrong": 20, "fooled": 30, "concealed": 5, "adv_corrected": 3}
    assert {name: test[name] for name in expected} == expected and test["hyp_broken"] == 2
    hypocritical = test["hypocritical_risk"]
    assert (hypocritical["count"], hypocritical["n"], hypocritical["value"]) == (5, 20, 0.25)
    ends = hypocritical["low"], hypocritical["high"]
    assert ends == pytest.approx(wilson(5, 20), abs=1e-9)
    assert data["validation"]["natural_risk"]["value"] == 0.25
    assert (data["aware"]["adversarial_risk_all"]["count"], data["aware"]["total"]) == (29, 40)
    assert result_from_dict(json.loads(json.dumps(data))) == rich
    assert rich.counts("validation") is rich.validation and rich.counts("test") is rich.test


def test_rates_of_nothing_are_null_and_come_back(tmp_path) -> None:
    perfect = point(0, counts(0, 0), counts(0, 0, total=50))
    data = result_to_dict(perfect)
    assert data["test"]["hypocritical_risk"] == {
        "count": 0, "n": 0, "value": None, "low": None, "high": None,
    }  # fmt: skip
    assert data["aware"] is None
    assert result_from_dict(data) == perfect
    front(perfect).write(tmp_path / "front.json")
    text = (tmp_path / "front.json").read_text()
    assert "NaN" not in text and Front.read(tmp_path / "front.json").members == ()


def test_fronts_of_earlier_versions_are_read(tmp_path) -> None:
    """Without risks it is of two; a point without what was added later has its default."""
    full_front().write(tmp_path / "front.json")
    data = json.loads((tmp_path / "front.json").read_text())
    del data["risks"]
    for old in data["points"]:
        del old["aware"], old["crafted"], old["settings"]
    data["schema_version"] = 1
    (tmp_path / "front.json").write_text(json.dumps(data))
    back = Front.read(tmp_path / "front.json")
    assert back.risks == RISKS
    assert [(p.aware, p.crafted, dict(p.settings)) for p in back.results] == [(None, 0, {})] * 4


@pytest.mark.parametrize("text", [None, "", "{", "[1,"])
def test_no_front_is_said_in_one_line(text: str | None, tmp_path) -> None:
    path = tmp_path / "front.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(StudyError, match="^no front at .*front.json") as caught:
        Front.read(path)
    assert "\n" not in str(caught.value)
