"""The battery of CR: its settings, and the remark that it is no replacement."""

import pytest
from subjects import THREAT

from fftune.config import BatteryConfig
from fftune.evaluation.batteries import attacks_of
from fftune.evaluation.evaluate import evaluate
from fftune.evaluation.question import questions_of
from fftune.evaluation.second_opinion import CAVEAT
from fftune.risk import UnionCounts


@pytest.mark.parametrize(("classes", "targets"), [(2, 1), (8, 3), (10, 3), (100, 5), (1000, 7)])
def test_cr_aims_at_as_many_classes_as_its_authors_do(classes: int, targets: int) -> None:
    adversary, friend = attacks_of(BatteryConfig(name="second_opinion"), THREAT, classes=classes)
    assert (adversary.goal, friend.goal) == ("adversarial", "hypocritical")
    assert (adversary.config.targets, friend.config.targets) == (targets, 0)
    for attack in (adversary, friend):
        assert (attack.name, attack.protocol) == ("cr", "first_success")
        assert (attack.config.steps, attack.config.restarts) == (150, 5)


@pytest.mark.slow
def test_it_finds_what_autoattacks_gradient_searches_find_and_says_what_it_is(toy, blobs) -> None:
    found = {
        name: evaluate(toy, blobs, BatteryConfig(name=name, precision="fp32"), threat=THREAT)
        for name in ("second_opinion", "ensemble", "risks")
    }
    union = {name: UnionCounts.of(rows, split="test") for name, rows in found.items()}
    assert union["second_opinion"].fooled == union["ensemble"].fooled >= union["risks"].fooled > 0
    assert union["second_opinion"].concealed >= union["risks"].concealed > 0
    (question,) = questions_of(found["second_opinion"])
    assert CAVEAT in question.remarks and f"remark    {CAVEAT}" in question.head()
    assert not any("second-opinion" in line for line in questions_of(found["risks"])[0].remarks)
