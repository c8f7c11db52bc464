"""Perturbations of one net judged on another."""

from pathlib import Path

import pytest
import torch

from fftune.config import BatteryConfig, DataSpec, ModelSpec, ThreatModel
from fftune.data.subset import sample
from fftune.evaluation.batteries import attacks_of
from fftune.evaluation.evaluate import evaluate
from fftune.hedge_study.precomputed import perturb_dataset
from fftune.models import load_model
from fftune.papers.declarations import Setup
from fftune.papers.false_friends import transfer
from fftune.papers.false_friends.transferred import cross
from fftune.papers.results import Results
from fftune.papers.tasks import Given
from fftune.risk import Rate, RiskCounts

DIGITS = DataSpec(name="digits", train_size=200, validation_size=0)
SPECS = tuple(
    ModelSpec(factory=f"{Path(__file__).parents[1] / 'digit_means.py'}:{name}")
    for name in ("sharp", "blurred")
)
THREAT = ThreatModel(eps=0.05)


@pytest.fixture(scope="module")
def found():
    return cross(
        Given(
            nets=SPECS,
            data=DIGITS,
            threat=THREAT,
            examples=300,
            device="cpu",
            scale="tiny",
            settings={},
        )
    )


@pytest.mark.parametrize("i", [0, 1])
def test_the_diagonal_is_the_ordinary_evaluation(found, i) -> None:
    battery = BatteryConfig(name="risks", examples=300, device="cpu")
    rows = evaluate(SPECS[i], DIGITS, battery, threat=THREAT)
    counts = RiskCounts.of(rows, attack="pgd-20", split="test")
    assert counts.total == found["total"] and counts.wrong == found["wrong"][i]
    assert counts.concealed == found["concealed"][i][i] > 0
    assert counts.fooled == found["fooled"][i][i] > 0


def test_beside_the_diagonal_the_judge_answers_for_its_own_mistakes(found) -> None:
    images = sample(DIGITS, "test", 300)
    source, judge = map(load_model, SPECS)
    battery = BatteryConfig(name="risks", device="cpu")
    attack = attacks_of(battery, THREAT)[0].config
    crafted = perturb_dataset(source, images, battery, attack, model_hash="")
    with torch.no_grad():
        clean, adv, hyp = (
            judge(x).argmax(1) == images.y for x in (crafted.x, crafted.x_adv, crafted.x_hyp)
        )
    assert found["concealed"][0][1] == int((~clean & hyp).sum())
    assert found["fooled"][0][1] == int((clean & ~adv).sum())
    assert found["concealed"][0][1] != found["concealed"][0][0]


def test_noise_is_the_last_source_and_a_weak_one(found) -> None:
    assert len(found["concealed"]) == len(found["fooled"]) == 3
    for judge in (0, 1):
        assert found["concealed"][2][judge] < found["concealed"][judge][judge]
        assert found["fooled"][2][judge] < found["fooled"][judge][judge]


def test_rates_are_of_mistakes_or_of_right_answers() -> None:
    counts = {"total": 10, "wrong": [4, 1], "concealed": [[3, 1]], "fooled": [[2, 9]]}
    assert transfer.rates_of(counts, "concealed") == [[Rate(3, 4), Rate(1, 1)]]
    assert transfer.rates_of(counts, "fooled") == [[Rate(2, 6), Rate(9, 9)]]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Rate(90, 100), Rate(10, 100), True),
        (Rate(10, 100), Rate(90, 100), False),
        (Rate(52, 100), Rate(48, 100), None),
        (Rate(0, 0), Rate(48, 100), None),
    ],
)
def test_overlapping_intervals_decide_nothing(one, other, expected) -> None:
    assert transfer.larger(one, other) is expected


def test_what_failed_leaves_a_table_with_its_reason(tmp_path) -> None:
    tables = list(transfer.TRANSFER.build(Results(setup=Setup(), root=tmp_path)))
    assert [table.name for table in tables] == [
        "P1.transfer-hypocritical",
        "P1.transfer-adversarial",
    ]
    for table in tables:
        cells = [cell for row in table.rows for cell in row.cells]
        assert len(cells) == 30 and not table.directions
        assert {cell.reason for cell in cells} == {"it was not computed"}


def test_a_table_has_the_judges_in_its_columns(tmp_path, monkeypatch) -> None:
    concealed = [[10 * i + j for j in range(5)] for i in range(6)]
    counts = {"total": 200, "wrong": [100] * 5, "concealed": concealed, "fooled": concealed}
    monkeypatch.setattr(Results, "analysis", lambda *_: counts)
    friends, _ = transfer.TRANSFER.build(Results(setup=Setup(), root=tmp_path))
    means = [[cell.ours.mean for cell in row.cells] for row in friends.rows]
    assert means == [pytest.approx(row) for row in concealed]
    assert friends.rows[-1].label == "uniform noise"
    assert [column for _, column in friends.columns] == list(transfer.NETS)
    assert [direction.found for direction in friends.directions] == [False, False]
