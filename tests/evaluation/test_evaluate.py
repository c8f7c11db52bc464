from dataclasses import replace

import pyarrow.compute as pc
import pytest
import torch
from torch import nn

from fftune import recipes
from fftune.attacks import pgd
from fftune.config import ModelSpec, ThreatModel
from fftune.data import load
from fftune.errors import ModelError
from fftune.evaluation.batteries import attacks_of
from fftune.evaluation.block import attack_block
from fftune.evaluation.evaluate import evaluate
from fftune.evaluation.model_under_test import ModelUnderTest, logits_of
from fftune.keyed_noise import Noise
from fftune.models import load_model
from fftune.outcomes import Outcomes
from fftune.risk import RiskCounts
from fftune.threat import distance
from fftune.training.train import train

SWEEP = recipes.thrm("tiny")
THREAT = SWEEP.base.attack.threat


def subject(net: nn.Module, **columns: str) -> ModelUnderTest:
    return ModelUnderTest(net=net, surrogate=net, surrogate_lowp=net, classes=10, columns=columns)


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> ModelSpec:
    torch.set_num_threads(1)
    config = replace(SWEEP.base, objective="standard")
    return train(config).save(tmp_path_factory.mktemp("net") / "checkpoint")


@pytest.fixture(scope="module")
def outcomes(spec: ModelSpec) -> Outcomes:
    return evaluate(spec, SWEEP.base.data, SWEEP.battery, threat=THREAT, split="validation")


def test_a_row_for_every_example_and_goal(outcomes: Outcomes) -> None:
    data = load(SWEEP.base.data, "validation")
    for goal in ("adversarial", "hypocritical"):
        part = outcomes.where(goal=goal)
        assert part.table["id"].to_pylist() == data.ids.tolist()
        assert part.table["y"].to_pylist() == data.y.tolist()
    assert outcomes.values("dataset_hash") == {data.hash()}
    assert outcomes.values("forwards") == {20}
    assert pc.max(outcomes.table["distance"]).as_py() <= THREAT.eps * (1 + 1e-5)


def test_a_false_friend_hides_nearly_every_mistake_of_a_standard_net(outcomes: Outcomes) -> None:
    counts = RiskCounts.of(outcomes, attack="pgd-20", split="validation")
    assert counts.hypocritical_accuracy.interval[0] > counts.clean_accuracy.interval[1]
    assert counts.hypocritical_risk.interval[0] > 0.8
    assert counts.adversarial_accuracy.interval[1] < counts.clean_accuracy.interval[0]


def test_rows_are_those_of_a_plain_reading(spec: ModelSpec, outcomes: Outcomes) -> None:
    """The first block, by hand: clean prediction, PGD, verdict on the result."""
    data, net = load(SWEEP.base.data, "validation"), load_model(spec)
    ids, x, y = next(data.batches(256))
    attack = attacks_of(SWEEP.battery, THREAT)[1]
    noise = Noise(0).fold("digits", "validation")
    x_hyp = pgd(
        net, x, y, config=attack.config, goal="hypocritical", loss="ce", noise=noise, ids=ids
    )
    part = outcomes.where(goal="hypocritical").table.slice(0, 256)
    assert part["pred_clean"].to_pylist() == logits_of(subject(net), x).argmax(1).tolist()
    pred = logits_of(subject(net), x_hyp).argmax(1)
    assert part["pred_pert"].to_pylist() == pred.tolist()
    assert part["success"].to_pylist() == (pred == y).tolist()
    assert part["distance"].to_pylist() == distance(x_hyp, x, "linf").tolist()


def test_blocks_may_run_in_any_order(spec: ModelSpec, outcomes: Outcomes) -> None:
    data, net = load(SWEEP.base.data, "validation"), load_model(spec)
    noise = Noise(0).fold("digits", "validation")
    judged = subject(net, dataset_hash=data.hash(), split="validation", model_hash=spec.hash)
    blocks = [
        attack_block(judged, block, attack, noise=noise)
        for attack in reversed(attacks_of(SWEEP.battery, THREAT))
        for block in reversed(list(data.batches(256)))
    ]
    assert Outcomes.of(blocks).table.equals(outcomes.table)


@pytest.mark.slow
@pytest.mark.parametrize("size", [pytest.param(7, marks=pytest.mark.slow), 100])
def test_other_blocks_move_at_most_one_prediction_in_a_thousand(spec, outcomes, size) -> None:
    battery = replace(SWEEP.battery, block_size=size)
    other = evaluate(spec, SWEEP.base.data, battery, threat=THREAT, split="validation")
    moved = pc.sum(pc.not_equal(other.table["pred_pert"], outcomes.table["pred_pert"])).as_py()
    assert moved <= 0.001 * len(outcomes)


def test_no_perturbation_changes_nothing(spec: ModelSpec) -> None:
    still = ThreatModel(eps=0.0)
    rows = evaluate(spec, SWEEP.base.data, SWEEP.battery, threat=still, split="validation")
    counts = RiskCounts.of(rows, attack="pgd-20", split="validation")
    assert (counts.fooled, counts.concealed, counts.violations) == (0, 0, 0)
    assert counts.wrong > 0


class Broken(nn.Module):
    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (torch.full((2, 10), torch.nan), "not finite"),
        (torch.zeros(2), r"returned \(2,\)"),
        (torch.zeros(3, 10), r"returned \(3, 10\)"),
    ],
)
def test_a_broken_net_is_reported_not_scored(logits, message) -> None:
    with pytest.raises(ModelError, match=message):
        logits_of(subject(Broken(logits)), torch.rand(2, 1, 8, 8))
