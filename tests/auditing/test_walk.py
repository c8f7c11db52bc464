"""Audits of a net whose rates are known by counting: verdicts, stops, doubts, and losses."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from fftune import audit
from fftune.auditing.audit import Audit
from fftune.auditing.bars import AT_LEAST, read_bars
from fftune.auditing.walk import Walk
from fftune.config import AttackConfig, BatteryConfig, ThreatModel
from fftune.data.in_memory import dataset_of
from fftune.errors import ConfigError, FftuneError
from fftune.evaluation.batteries import AUDIT, Attack, single
from fftune.evaluation.job import EvalJob
from tests.auditing.toys import EPS, TRUTH, examples, net

FEW = {"eps": EPS, "block_size": 16}
OF = {"adversarial_risk": 200, "hypocritical_risk": 100}


def judged(bars: dict[str, float], model: nn.Module | None = None, **settings: object) -> Audit:
    given = {"battery": "risks", **FEW, **settings}
    return audit(model or net(), examples(), bars, **given)


def shifted(examples_off: int) -> dict[str, float]:
    """Bars so many examples on the side where the net does not keep to them; 0: it just does."""
    off = {name: examples_off / OF.get(name, 300) for name in TRUTH}
    return {n: v + off[n] if n in AT_LEAST else v - off[n] for n, v in TRUTH.items()}


def test_bars_at_the_truth_are_kept_to_and_one_example_on_they_are_not() -> None:
    kept, broken = judged(shifted(0)).record, judged(shifted(1)).record
    assert {f.measure: f.outcome for f in kept.findings} == dict.fromkeys(TRUTH, "pass")
    assert {f.measure: f.outcome for f in broken.findings} == dict.fromkeys(TRUTH, "fail")
    assert (kept.outcome, kept.exit_code) == ("pass", 0)
    assert (broken.outcome, broken.exit_code) == ("fail", 3)
    for finding in kept.findings:  # all were needed, so that each is a count
        assert finding.exact and finding.low == finding.high == finding.value
        assert finding.value == pytest.approx(TRUTH[finding.measure])
    for finding in broken.findings:
        assert finding.low <= TRUTH[finding.measure] <= finding.high


@pytest.mark.parametrize(
    ("bars", "outcome"),
    [
        ({"hypocritical_risk": 0.65, "adversarial_risk": 0.35}, "pass"),
        ({"hypocritical_risk": 0.15, "robust_accuracy": 0.65}, "fail"),
    ],
)
def test_a_bar_far_from_the_truth_takes_few_examples(bars: dict[str, float], outcome: str) -> None:
    found = judged(bars)
    assert found.outcome == outcome
    for finding in found.record.findings:
        assert 16 <= finding.examined <= 80 and finding.examined % 16 == 0
        assert not finding.exact
        assert finding.low <= TRUTH[finding.measure] <= finding.high
        low, high = finding.population_interval
        assert low <= TRUTH[finding.measure] <= high
        assert sum(one.count for one in finding.found_by) == finding.found
    attacked = found.outcomes.where(attack="pgd-20")
    assert len(attacked) == sum(f.examined for f in found.record.findings)


def test_only_what_a_bar_needs_is_attacked() -> None:
    facts = judged({"accuracy": 0.66, "natural_risk": 0.34})
    assert facts.outcomes.values("attack") == {"clean"} and facts.record.battery.attacks == ()
    assert facts.outcome == "pass"
    hopeless = judged({"robust_accuracy": 0.7})  # it is right on fewer images without attacks
    assert hopeless.outcome == "fail" and hopeless.record.findings[0].examined == 0
    easy = judged({"inflation": 0.34})  # even if every mistake were concealed
    assert easy.record.sentence.startswith("PASS: ") and easy.record.findings[0].examined == 0


def test_a_budget_ends_without_a_verdict() -> None:
    found = judged({"hypocritical_risk": 0.41, "adversarial_risk": 0.11}, examples=40)
    assert found.outcome == "inconclusive" and found.record.exit_code == 4
    assert sum(f.examined for f in found.record.findings) == 40
    assert "lower bound" in found.record.findings[0].unexcluded


def test_the_seed_alone_says_who_is_drawn() -> None:
    bars = {"hypocritical_risk": 0.9}
    found = [judged(bars, seed=seed).outcomes.where(attack="pgd-20") for seed in (1, 2)]
    drawn = [rows.values("id") for rows in found]
    assert drawn[0] != drawn[1]
    again = judged({"hypocritical_risk": 0.8}, seed=1)
    assert again.outcomes.where(attack="pgd-20").values("id") >= drawn[0]


def test_one_bar_that_fails_is_tested_more_strictly_among_several() -> None:
    alone = judged({"hypocritical_risk": 0.2}).record.findings[0]
    several = judged({"hypocritical_risk": 0.2, "adversarial_risk": 0.6, "inflation": 0.9})
    assert alone.alpha_low == 0.05 and alone.alpha_high == 0.05
    assert several.record.findings[0].alpha_low == pytest.approx(0.05 / 3)
    assert several.record.findings[0].alpha_high == 0.05


def test_without_mistakes_a_share_of_them_is_undefined() -> None:
    x, _ = examples()
    y = (x.flatten() > 0.5).long()
    found = audit(net(), (x, y), {"hypocritical_risk": 0.5}, "risks", classes=2, **FEW)
    assert found.outcome == "inconclusive" and found.record.findings[0].value is None
    assert "undefined" in found.record.findings[0].sentence
    assert audit(net(), (x, y), {"inflation": 0}, "risks", classes=2, **FEW).outcome == "pass"


class Steps(nn.Module):
    """The same answers from logits with steps: gradients are zero."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(20.0))

    def forward(self, x: Tensor) -> Tensor:
        score = self.slope * ((x.flatten(1)[:, :1] - 0.5) * 1000).round() / 1000
        return torch.cat([-score, score], 1)


def test_attacks_that_stand_still_pass_nobody() -> None:
    found = judged({"hypocritical_risk": 0.6}, Steps())
    assert found.outcome == "inconclusive"
    assert "gradient" in found.record.findings[0].unexcluded


@pytest.mark.slow
def test_a_longer_ensemble_finds_what_gradients_hide() -> None:
    found = judged({"hypocritical_risk": 0.3}, Steps(), battery="audit", block_size=100)
    assert found.outcome == "fail"
    assert found.record.findings[0].found_by[0].attack == "strong"
    rows = found.outcomes.where(attack="strong")
    assert rows.values("tier") == {"full"}


def layers() -> nn.Module:
    """The same net in layers, of which bounds are exact where the answer cannot change."""
    first, second = nn.Linear(1, 2), nn.Linear(2, 2, bias=False)
    first.weight.data = torch.tensor([[-20.0], [20.0]])
    first.bias.data = torch.tensor([10.0, -10.0])
    second.weight.data = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), second)


@pytest.mark.slow
def test_what_a_bound_excludes_is_not_attacked() -> None:
    bars = {"hypocritical_risk": 0.4, "robust_accuracy": 0.6}
    found = judged(bars, layers(), battery="certified", certify_seconds=0.02)
    assert found.record.sentence.startswith("PASS, certified")
    assert "pgd-20" not in found.outcomes.values("attack")
    risk, accuracy = found.record.findings
    assert (risk.certified_high, accuracy.certified_high) == (0.4, 0.6)
    assert (risk.population, risk.denominator) == (40, 100) and "rounding" in risk.unexcluded
    tighter = {"hypocritical_risk": 0.39, "robust_accuracy": 0.61}
    broken = judged(tighter, layers(), battery="certified", certify_seconds=0.02)
    assert broken.outcome == "fail"
    assert all(f.examined <= f.population < 50 and f.found > 0 for f in broken.record.findings)


class Dice(nn.Module):
    """Answers by chance."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        return torch.randn(len(x), 2) + self.weight * x.flatten(1)[:, :1]


def test_a_net_that_answers_by_chance_gets_no_verdict() -> None:
    found = judged({"accuracy": 0.01, "hypocritical_risk": 0.99}, Dice())
    assert {f.outcome for f in found.record.findings} == {"inconclusive"}
    assert "by-chance" in found.record.findings[0].unexcluded


def test_a_verdict_in_the_midst_of_a_block_is_no_reason_to_search_longer() -> None:
    found = judged({"hypocritical_risk": 0.1}, battery="audit", tier="screen")
    assert found.outcome == "fail" and found.record.remarks == ()
    assert found.outcomes.values("tier") <= {"screen", "full"}
    assert found.outcomes.where(attack="strong").values("tier") <= {"screen"}


def asking(attacks: list[Attack] | None = None) -> EvalJob:
    dataset = dataset_of(examples(), classes=2, split="test")
    battery = BatteryConfig(name="risks", block_size=16, steps=2)
    threat = ThreatModel(eps=EPS)
    return EvalJob.of(dataset, battery, model_hash="0", threat=threat, attacks=attacks)


def test_a_lost_block_is_no_verdict() -> None:
    walk = Walk(bars=read_bars(["hypocritical_risk=.3"]), alpha=0.05)
    plan = walk.plan(asking(), ())
    next(plan)
    with pytest.raises(FftuneError, match="no verdict"):
        plan.send({})


def test_a_battery_without_such_attackers_is_refused() -> None:
    friend = single("f", "hypocritical", "ce", AttackConfig(threat=ThreatModel(eps=EPS)))
    walk = Walk(bars=read_bars(["adversarial_risk=.3"]), alpha=0.05)
    with pytest.raises(ConfigError, match=r"battery\.name"):
        next(walk.plan(asking([friend]), ()))
    idle = replace(friend, stages=(replace(friend.stages[0], config=AttackConfig(steps=0)),))
    walk = Walk(bars=read_bars(["hypocritical_risk=.3"]), alpha=0.05)
    with pytest.raises(ConfigError, match=r"battery\.name"):
        next(walk.plan(asking([idle]), ()))


def test_its_battery_attacks_for_both_goals_the_cheap_first() -> None:
    battery = BatteryConfig(name="audit", tier="full")
    attacks = AUDIT.attacks(ThreatModel(), battery, 10)
    assert [(a.name, a.goal) for a in attacks] == [
        ("pgd-20", "adversarial"),
        ("pgd-20", "hypocritical"),
        ("autoattack", "adversarial"),
        ("strong", "hypocritical"),
    ]
