"""Certified bounds as rows: no attack exceeds them, and no worst case takes them for an attack."""

import pytest
import torch
from torch import nn

import fftune as ff
from fftune.certified import certify
from fftune.config import SmoothingConfig, ThreatModel
from fftune.defenses.smoothing import Smoothing
from fftune.errors import ConfigError, ModelError
from fftune.evaluation import certificate
from fftune.evaluation.certificate import at_worst, certificates, smoothed_at_worst
from fftune.evaluation.defended import DefendedPrediction
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.models import make_model
from fftune.outcomes import Outcomes
from fftune.report.attack_table import rates
from fftune.risk import Rate, RiskCounts, UnionCounts
from tests.certified.test_linf_dist_bounds import EPS, INPUTS, data, net
from tests.report.detail_texts import table


def certified(model, count: int = 120, *, eps: float, seed: int = 7) -> Outcomes:
    return ff.evaluate(model, data(count, seed), eps=eps, battery="certified", steps=5).outcomes


def test_worst_answers_by_hand() -> None:
    """Logits move by .05 / .2009 = .249 at most, so that margins from .498 on are kept."""
    model = make_model("linf_dist", INPUTS, width=16, seed=0).eval()
    y = torch.zeros(5, dtype=torch.long)
    z = torch.tensor(
        [
            [0.51, 0.0, -1.0],  # right, and stays so
            [0.49, -1.0, 0.0],  # right, by less
            [0.0, 0.51, 0.3],  # wrong, and stays so
            [0.0, 0.3, 0.49],  # wrong, by less
            [0.0, 0.0, -1.0],  # a tie that counts as right
        ]
    )
    adversary, friend = certificates(ThreatModel(eps=0.05))
    x = torch.full((5, 1, 4, 4), 0.5)
    for one, worst in ((adversary, [0, 2, 1, 2, 1]), (friend, [0, 0, 1, 0, 0])):
        pred, status = at_worst(one, model, x, y, z)
        assert pred.tolist() == worst
        assert status == ("ok",) * 5


@pytest.mark.parametrize(("steps", "eps", "seed"), [(0, 0.02, 0), (0, 0.05, 1), (60, EPS, 2)])
def test_what_attacks_find_is_within_what_is_certified(steps, eps, seed) -> None:
    model = net(steps, seed)
    found = certified(model, eps=eps)
    bound = RiskCounts.of(found, attack="certified", split="test")
    attacked = RiskCounts.of(found, attack="pgd-5", split="test")
    x, y = data(120, 7)
    counts = certify(model, x, y, threat=ThreatModel(eps=eps))
    assert (bound.total, bound.wrong) == (counts.total, counts.wrong)
    assert (bound.fooled, bound.concealed) == (counts.foolable, counts.concealable)
    assert bound.violations == 0
    assert attacked.fooled <= bound.fooled and attacked.concealed <= bound.concealed
    assert bound.adversarial_accuracy.value <= attacked.adversarial_accuracy.value
    assert bound.hypocritical_accuracy.value >= attacked.hypocritical_accuracy.value
    # Table 16 derives R_hyp from F, as all tables do.
    derived = 1 - (1 - bound.hypocritical_accuracy.value) / bound.natural_risk.value
    assert derived == pytest.approx(counts.hypocritical_risk)


def test_a_bound_is_no_attack_of_the_worst_case() -> None:
    found = certified(net(60, 2), eps=EPS)
    alone = Outcomes.of([found.where(attack="pgd-5").table])
    assert UnionCounts.of(found, split="test") == UnionCounts.of(alone, split="test")
    assert found.where(attack="certified").values("protocol") == {"certified"}
    bound, attacked = (
        RiskCounts.of(found, attack=attack, split="test") for attack in ("certified", "pgd-5")
    )
    assert bound.fooled > attacked.fooled
    named = rates(found)
    assert {name: rate for name, rate in named.items() if name.startswith("certified")} == {
        "certified_bound/adversarial_accuracy": bound.adversarial_accuracy,
        "certified_bound/adversarial_risk": bound.adversarial_risk,
        "certified_bound/hypocritical_accuracy": bound.hypocritical_accuracy,
        "certified_bound/hypocritical_risk": bound.hypocritical_risk,
        "certified_bound/adversarial_undecided": Rate(
            bound.fooled - attacked.fooled, bound.total - bound.wrong
        ),
        "certified_bound/hypocritical_undecided": Rate(
            bound.concealed - attacked.concealed, bound.wrong
        ),
    }
    assert {name: r for name, r in named.items() if not name.startswith("certified")} == rates(
        alone
    )
    said = table(found)
    assert set(table(alone).splitlines()) < set(said.splitlines())
    assert "certified bound, which no attack exceeds, for these 120 examples, linf <= 0.05" in said
    assert f"hypocritical accuracy F at most {bound.hypocritical_accuracy}" in said
    assert f"adversarial accuracy A at least {bound.adversarial_accuracy}" in said


def test_a_bound_at_radius_0_is_the_clean_answer() -> None:
    found = certified(net(60, 2), eps=0.0)
    bound = RiskCounts.of(found, attack="certified", split="test")
    assert bound.fooled == bound.concealed == 0
    assert bound.hypocritical_risk == Rate(0, bound.wrong)


@pytest.mark.parametrize(
    ("change", "settings", "error", "message"),
    [
        (lambda m: m, {"norm": "l2"}, ConfigError, "^norm must be 'linf' to be certified"),
        (lambda m: m, {"defense": "hedge"}, ConfigError, "^defense.names must be left out to"),
        (lambda m: m, {"defense": "smoothing"}, ConfigError, "or smoothing alone, in l2, got sm"),
        (lambda m: torch.nn.Sequential(m), {}, ConfigError, "^net cannot be certified: layer '0"),
        (lambda m: (m.set_p(8), m)[1], {}, ModelError, "at p = inf only, got p = 8$"),
    ],
)
def test_what_cannot_be_certified_is_one_line(change, settings, error, message) -> None:
    model = change(make_model("linf_dist", INPUTS, width=16, seed=0).eval())
    with pytest.raises(error, match=message):
        ff.evaluate(model, data(20, 7), battery="certified", **settings)


def test_worst_votes_by_hand(monkeypatch) -> None:
    """Kept are votes for the class that is certified, from a radius of the ball's on."""
    y = torch.zeros(6, dtype=torch.long)
    votes = torch.tensor([0, 0, 0, 2, 2, 1])
    top = torch.tensor([0, 0, 1, 2, 2, 2])  # the third's and the last's votes are others
    radius = torch.tensor([0.6, 0.49, 0.6, 0.6, torch.nan, 0.6], dtype=torch.float64)
    monkeypatch.setattr(certificate, "certify", lambda *_, **__: (top, radius))
    drawn = DefendedPrediction(
        name="smoothing",
        defense=Smoothing(config=SmoothingConfig()),
        repeat=0,
        pred=votes,
        counts=torch.zeros(4, 6),
    )
    noise = ExampleNoise(Noise(0), torch.arange(6))
    found = [
        smoothed_at_worst(one, nn.Identity(), torch.zeros(6, 1, 1, 1), y, noise, [drawn])
        for one in certificates(ThreatModel(norm="l2", eps=0.5))
    ]
    adversary, friend = (one.pred.tolist() for (one,) in found)
    assert adversary == [0, 1, 1, 2, 2, 1]
    assert friend == [0, 0, 0, 2, 0, 0]
