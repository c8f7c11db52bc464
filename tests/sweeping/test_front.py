import json
import math

import pytest

from fftune.errors import StudyError
from fftune.risk import RiskCounts
from fftune.sweeping.front import Front
from fftune.sweeping.trial_results import Failure, SeedResult, by_lambda
from tests.questions import ASKED


def point(trial: int, lam: float, validation: tuple[int, int], test: tuple[int, int]) -> SeedResult:
    """Of 100 examples: how many are wrong, and how many of those a friend can hide."""
    counts = [RiskCounts(total=100, wrong=w, concealed=c) for w, c in (validation, test)]
    return SeedResult(
        trial=trial,
        lam=lam,
        settings={"lam": lam},
        seed=0,
        model_hash=f"{trial:016x}",
        validation=counts[0],
        test=counts[1],
        train_seconds=1.0,
        evaluate_seconds=1.0,
    )


POINTS = by_lambda(
    [
        point(1, 100, (40, 10), (42, 12)),
        point(0, 0, (10, 10), (12, 12)),
        point(2, 9, (20, 10), (50, 50)),  # on the validation front, dominated on the test split
        point(3, 50, (45, 30), (10, 0)),  # dominated on validation, the best of all on test
    ]
)
FRONT = Front(
    study="s",
    objective="thrm",
    selection="validation",
    results=POINTS,
    failures=(Failure(trial=4, lam=70.0, reason="loss is nan"),),
)


def test_members_are_chosen_on_validation_and_not_filtered_again() -> None:
    assert [p.trial for p in FRONT.members] == [0, 2, 1]
    assert FRONT.curve("validation") == [(0.1, 1.0), (0.2, 0.5), (0.4, 0.25)]
    assert FRONT.curve("test") == [(0.12, 1.0), (0.42, 12 / 42), (0.5, 1.0)]
    assert FRONT.hypervolume("validation") == pytest.approx(0.8 * 0.5 + 0.6 * 0.25)


def test_selection_on_test_is_called_optimistic(tmp_path) -> None:
    from dataclasses import replace

    optimistic = replace(FRONT, selection="test")
    assert [p.trial for p in optimistic.members] == [3]
    optimistic.write(tmp_path / "s/front.json")
    assert json.loads((tmp_path / "s/front.json").read_text())["optimistic"] is True


def test_round_trip(tmp_path) -> None:
    FRONT.write(tmp_path / "s/front.json")
    assert Front.read(tmp_path / "s/front.json") == FRONT
    data = json.loads((tmp_path / "s/front.json").read_text())
    first = data["points"][0]["test"]["natural_risk"]
    assert (first["count"], first["n"], first["value"]) == (12, 100, 0.12)
    assert 0 < first["low"] < 0.12 < first["high"] < 1
    assert [p["on_front"] for p in data["points"]] == [True, True, False, True]
    assert data["optimistic"] is False


def test_a_model_without_mistakes_is_on_no_front(tmp_path) -> None:
    perfect = Front(
        study="s", objective="thrm", selection="validation", results=(point(0, 0, (0, 0), (0, 0)),)
    )
    assert perfect.members == ()
    assert math.isnan(perfect.results[0].test.hypocritical_risk.value)
    perfect.write(tmp_path / "s/front.json")
    assert '"value": null' in (tmp_path / "s/front.json").read_text()


def test_a_missing_or_damaged_front(tmp_path) -> None:
    with pytest.raises(StudyError, match="no front at"):
        Front.read(tmp_path / "s/front.json")
    (tmp_path / "s").mkdir()
    (tmp_path / "s/front.json").write_text("{")
    with pytest.raises(StudyError, match="no front at"):
        Front.read(tmp_path / "s/front.json")


def test_what_was_asked_and_remarked_stands_in_the_front(tmp_path) -> None:
    from dataclasses import replace

    remarked = replace(POINTS[0], remarks=("range: inputs beyond 1",))
    front = replace(FRONT, questions={"test": ASKED}, results=(remarked, *POINTS[1:]))
    front.write(tmp_path / "s/front.json")
    assert Front.read(tmp_path / "s/front.json") == front
    data = json.loads((tmp_path / "s/front.json").read_text())
    assert data["questions"]["test"]["available"] == 10000
    assert data["points"][0]["remarks"] == ["range: inputs beyond 1"]


def test_a_front_of_schema_1_is_read(tmp_path) -> None:
    FRONT.write(tmp_path / "s/front.json")
    data = json.loads((tmp_path / "s/front.json").read_text()) | {"schema_version": 1}
    del data["questions"]
    for one in data["points"]:
        del one["remarks"]
    (tmp_path / "s/front.json").write_text(json.dumps(data))
    assert Front.read(tmp_path / "s/front.json") == FRONT


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"schema_version": 99}, "is of schema 99, this fftune reads 1 to 3"),
        ({"schema_version": None}, "is of schema None"),
        ({"schema_version": ...}, "schema_version is missing"),
        ({"points": ...}, "is damaged: points is missing"),
        ({"questions": ...}, "is damaged: questions is missing"),
        ({"points": [{"trial": 1}]}, "is damaged: .*seed"),
        ({"points": 3}, "is damaged"),
        ({"trials": [{}]}, "is damaged: seeds is missing"),
        ({"questions": {"test": {}}}, "is damaged: net is missing"),
    ],
)
def test_a_front_of_another_shape_is_one_line(tmp_path, changed, told) -> None:
    FRONT.write(tmp_path / "s/front.json")
    data = json.loads((tmp_path / "s/front.json").read_text()) | changed
    kept = {key: value for key, value in data.items() if value is not ...}
    (tmp_path / "s/front.json").write_text(json.dumps(kept))
    with pytest.raises(StudyError, match=told) as error:
        Front.read(tmp_path / "s/front.json")
    assert "\n" not in str(error.value) and "front.json" in str(error.value)
