"""Nets that mislead gradient attacks, at every tier, for both goals, bare and behind a defense.

Each is noticed: its number is that of the net it hides, or a remark says why not, or it is refused
in one line.
"""

import copy

import pytest
import torch
from subjects import Of, briefly
from torch import nn

from fftune.config import BatteryConfig, DefenseConfig, ThreatModel
from fftune.data import Dataset
from fftune.errors import ModelError
from fftune.evaluation import batteries, tiers
from fftune.evaluation.adaptive import is_adaptive
from fftune.evaluation.evaluate import evaluate
from fftune.evaluation.question import remarks_of
from fftune.outcomes import Outcomes

THREAT = ThreatModel(eps=0.05)
HIDING = {
    "a temperature of 1e4": (lambda n, x: 1e4 * n(x), "zero-gradient"),
    "softmax": (lambda n, x: (10 * n(x)).softmax(1), "probabilities"),
    "rounding inputs": (lambda n, x: n((x * 64).round() / 64), "zero-gradient"),
    "rounding, straight through": (
        lambda n, x: n(x + ((x * 64).round() / 64 - x).detach()),
        "misleading-gradient",
    ),
    "a detached branch": (
        lambda n, x: 0.5 * n(x) + 0.5 * n(torch.cat([x[..., :2], x[..., 2:].detach()], -1)),
        "misleading-gradient",
    ),
}
"""Ways to ask the toy net that hide its gradients and leave its answers, and what the lint says."""
CHANGING = {
    "dropout in F.dropout(training=True)": (
        lambda net: Of(net, lambda n, x: n(nn.functional.dropout(x, 0.2, training=True))),
        "by-chance",
    ),
    "BatchNorm without running statistics": (
        lambda net: nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False), net),
        "batch-dependent",
    ),
}
"""Nets whose answers are no function of the image."""


@pytest.fixture(autouse=True)
def short(monkeypatch) -> None:
    for name, searches in tiers.TIERS.items():
        brief = briefly(searches, apgd=10, fab=2, square=150)
        monkeypatch.setitem(tiers.TIERS, name, brief)
    brief = briefly(tiers.CANARY_SEARCHES, fab=2, square=20)
    monkeypatch.setattr(batteries, "CANARY_SEARCHES", brief)


@pytest.fixture(scope="module")
def few(blobs) -> Dataset:
    return blobs.select(torch.arange(20), "test")


def judged(net: nn.Module, few: Dataset, battery: str, tier: str, *defense: str) -> Outcomes:
    """Without adaptive attacks, which ask the same gradients."""
    defenses = DefenseConfig(names=defense, steps=2, repeats=1) if defense else None
    config = BatteryConfig(name=battery, tier=tier, precision="fp32")
    net = net.eval()

    def wanted(attack: str) -> bool:
        return not is_adaptive(attack)

    return evaluate(net, few, config, threat=THREAT, defense=defenses, wanted=wanted)


def found(outcomes: Outcomes, attack: str) -> int:
    return len(outcomes.where(defense="none", attack=attack, tier="full", success=True))


def codes(outcomes: Outcomes) -> list[str]:
    return [line.partition(":")[0] for line in remarks_of(outcomes)]


@pytest.mark.some(5)
@pytest.mark.parametrize("tier", ["screen", "escalating"])
@pytest.mark.parametrize("name", HIDING)
def test_what_hides_gradients_is_remarked_on_and_gets_the_right_number(
    name: str, tier: str, toy, few
) -> None:
    """Square at full length finds what the plain net shows; of 20 images two may differ."""
    way, code = HIDING[name]
    right = found(judged(toy, few, "ensemble", "full"), "autoattack")
    outcomes = judged(Of(toy, way), few, "ensemble", tier)
    assert {code, "escalated"} <= set(codes(outcomes))
    assert outcomes.values("attack") == {"autoattack"}
    assert right > 12 and abs(found(outcomes, "autoattack") - right) <= 2


@pytest.mark.parametrize("tier", ["screen", "escalating"])
@pytest.mark.parametrize("name", CHANGING)
def test_what_has_no_answers_of_its_own_is_remarked_on(name: str, tier: str, toy, few) -> None:
    make, code = CHANGING[name]
    outcomes = judged(make(copy.deepcopy(toy)), few, "ensemble", tier)
    assert {code, "escalated"} <= set(codes(outcomes))
    assert outcomes.where(attack="autoattack").values("tier") == {"full"}


@pytest.mark.some(3)
@pytest.mark.parametrize("name", [*HIDING, *CHANGING])
def test_false_friends_meet_them_too_and_so_do_defenses(name: str, toy, few) -> None:
    """Where a gradient is zero everywhere, PGD, C&W and the hedge have nothing to follow."""
    net = Of(toy, HIDING[name][0]) if name in HIDING else CHANGING[name][0](copy.deepcopy(toy))
    if name == "rounding inputs":
        with pytest.raises(ModelError, match="gradients are zero"):
            judged(net, few, "hypocritical", "screen", "hedge")
        return
    outcomes = judged(net, few, "hypocritical", "screen", "hedge")
    code = (HIDING | CHANGING)[name][1]
    assert {code, "escalated"} <= set(codes(outcomes))
    assert outcomes.where(attack="strong").values("tier") == {"full"}


def test_a_sound_net_is_not_suspected(toy, few) -> None:
    for tier in ("screen", "escalating"):
        assert not codes(judged(toy, few, "ensemble", tier))
