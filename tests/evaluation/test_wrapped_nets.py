"""Every shipped defense, and a wrapped net from a file, through an evaluation with attackers."""

from copy import deepcopy

import pytest
import torch

from fftune.config import (
    AntiAdversaryConfig,
    BatteryConfig,
    BitDepthConfig,
    DefenseConfig,
    SmoothingConfig,
    ThreatModel,
)
from fftune.defenses.bit_depth import bit_depth
from fftune.defenses.smoothing import votes
from fftune.errors import ConfigError, ModelError
from fftune.evaluation.adaptive import adaptive_attacks
from fftune.evaluation.batteries import attacks_of
from fftune.evaluation.defended import DefenseSet, refuse_misfits
from fftune.evaluation.evaluate import evaluate
from fftune.registry import label

FILE = """
import torch
from fftune.defenses import DefenseSpec

def sure(model, x, *, noise, ids):
    return 3 * model(x)

def narrow(model, x, *, noise, ids):
    return model(x)[:, :7]

SURE = DefenseSpec(
    wrap=sure,
    differentiable=True,
    stochastic=False,
    cheaper=DefenseSpec(wrap=sure, differentiable=True),
)
NARROW = DefenseSpec(wrap=narrow)
"""
THREAT, BATTERY = ThreatModel(eps=0.05), BatteryConfig(steps=2)
OURS = ("jpeg", "bit_depth", "smoothing", "anti_adversary")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    file = tmp_path_factory.mktemp("wrapped") / "own.py"
    file.write_text(FILE)
    return lambda name: f"{file}:{name}"


def test_each_is_scored_beside_its_attackers(own, toy, blobs) -> None:
    few = blobs.select(torch.arange(30), "test")
    names = (*OURS, own("SURE"))
    smoothing = SmoothingConfig(sigma=0.2, votes=5, attacker_votes=2)
    bits = BitDepthConfig(bits=1)
    defense = DefenseConfig(
        names=names,
        repeats=1,
        draws=1,
        smoothing=smoothing,
        bit_depth=bits,
        seed=3,
        search_steps=1,
        search_targets=1,
        choices=1,
    )
    found = evaluate(toy, few, BATTERY, threat=THREAT, defense=defense)
    assert found.values("defense") == {"none", *OURS, "SURE"}
    for name in (*OURS, "SURE"):
        for knowledge in ("aware", "eot", "known"):
            assert len(found.where(attack=f"{knowledge}-{name}", defense=name))

    def said(name: str):
        rows = found.where(attack="clean", defense=name, defense_repeat=0).to_pandas()
        return rows.sort_values("id")

    x, noise = (
        few.pixels / 255,
        DefenseSet.of(defense, THREAT, source="blobs", split="test", attacks=1).noise.fold(0),
    )
    counted = votes(toy, x, config=smoothing, noise=noise, ids=few.ids)
    assert said("smoothing")["pred_pert"].tolist() == counted.argmax(1).tolist()
    assert set(said("smoothing")["forwards"]) == {5} and set(said("smoothing")["backwards"]) == {0}
    squeezed = toy(bit_depth(x, bits=1)).argmax(1)
    assert said("bit_depth")["pred_pert"].tolist() == squeezed.tolist()
    assert set(said("anti_adversary")["backwards"]) == {2}
    assert said("SURE")["pred_pert"].tolist() == toy(x).argmax(1).tolist()
    # The attacker through smoothing differentiates each of two copies at each of two steps.
    aware = found.where(attack="aware-smoothing", goal="adversarial", defense="none").to_pandas()
    assert set(aware["backwards"]) == {4}
    told = {one["name"]: one["others"] for one in found.questions[0]["defenses"]}
    assert told["jpeg"] == "quality 75" and told["SURE"] == ""
    assert told["smoothing"].startswith("sigma 0.2, votes 5, attacker_votes 2")


def test_an_attacker_averages_over_one_draw_where_all_are_alike(own) -> None:
    names = ("jpeg", "smoothing", "hedge", own("SURE"), own("NARROW"))
    defense = DefenseConfig(names=names, draws=3)
    defense_set = DefenseSet.of(defense, THREAT, source="blobs", split="test", attacks=1)
    battery = attacks_of(BATTERY, THREAT, classes=8)
    found = {one.name: one for one in adaptive_attacks(battery, defense_set, THREAT)}
    draws = [found[f"eot-{label(name)}"].stages[0].access.draws for name in names]
    assert draws == [1, 3, 3, 1, 15]
    assert [found[f"adaptive-{label(n)}"].choice.draws for n in names[:2]] == [1, 5]


def test_settings_of_a_defense_are_checked(toy, blobs) -> None:
    with pytest.raises(ConfigError, match="votes must be >= 1, got 0"):
        SmoothingConfig(votes=0)
    with pytest.raises(ConfigError, match="sigma must be finite, got nan"):
        SmoothingConfig(sigma=float("nan"))
    with pytest.raises(ConfigError, match="bits must be from 1 to 8, got 9"):
        BitDepthConfig(bits=9)
    with pytest.raises(ConfigError, match="steps must be >= 1, got 0"):
        AntiAdversaryConfig(steps=0)


def test_a_wrapped_net_of_other_classes_is_refused_before_any_attack(own, toy, blobs) -> None:
    defense = DefenseConfig(names=(own("NARROW"),))
    said = "defense 'NARROW' must tell the data's 8 classes apart, got 7"
    with pytest.raises(ConfigError, match=f"^{said}$"):
        evaluate(toy, blobs, BATTERY, threat=THREAT, defense=defense)


class Detached(torch.nn.Module):
    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x.detach())


def test_a_net_that_a_defense_cannot_follow_is_refused(toy, blobs) -> None:
    toy = deepcopy(toy)
    defense = DefenseConfig(names=("jpeg", "anti_adversary"))
    defense_set = DefenseSet.of(defense, THREAT, source="blobs", split="test", attacks=1)
    x = blobs.pixels[:4] / 255
    for parameter in toy.parameters():
        parameter.requires_grad_(False)
    refuse_misfits(defense_set, toy, x, 8)
    said = "net has no input gradients: defense 'anti_adversary' cannot follow them"
    with pytest.raises(ModelError, match=f"^{said}$"):
        refuse_misfits(defense_set, Detached(toy), x, 8)
