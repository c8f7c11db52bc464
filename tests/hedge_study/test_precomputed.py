import pytest
import torch

from fftune.config import (
    AttackConfig,
    BatteryConfig,
    DefenseConfig,
    HedgeConfig,
    ModelSpec,
    ThreatModel,
)
from fftune.defenses import AdaptiveAccess, Hedge
from fftune.errors import DataError
from fftune.evaluation.evaluate import evaluate
from fftune.hedge_study.precomputed import (
    PerturbedSet,
    defended_rows,
    perturb_dataset,
    perturbed_once,
)
from fftune.risk import RiskCounts
from tests.brief import BRIEF

THREAT = ThreatModel(eps=0.05)
BATTERY = BatteryConfig(steps=3, block_size=40)
ATTACK = AttackConfig(threat=THREAT, steps=3)
SPEC = ModelSpec(factory="fftune:toy")


@pytest.fixture(scope="module")
def crafted(toy, blobs) -> PerturbedSet:
    return perturb_dataset(toy, blobs, BATTERY, ATTACK, model_hash="m")


def counts(outcomes) -> RiskCounts:
    return RiskCounts.of(outcomes, attack="pgd-3", split="test")


def test_without_a_defense_it_counts_what_the_battery_counts(toy, blobs, crafted) -> None:
    direct = HedgeConfig(eps_d=0, steps=0)
    plain = evaluate(toy, blobs, BATTERY, threat=THREAT)
    assert counts(defended_rows(toy, crafted, direct, battery=BATTERY)) == counts(plain)


def test_behind_a_hedge_it_counts_what_the_first_draw_of_an_evaluation_counts(
    toy, blobs, crafted
) -> None:
    config = HedgeConfig(eps_d=0.1, steps=2)
    ours = defended_rows(toy, crafted, config, battery=BATTERY).to_pandas()
    settings = DefenseConfig(**BRIEF, names=("hedge",), eps_d=0.1, steps=2, repeats=1)
    frame = evaluate(toy, blobs, BATTERY, threat=THREAT, defense=settings).to_pandas()
    frame = frame[(frame["defense"] == "hedge") & (frame["defense_repeat"] == 0)]
    clean = frame[frame["attack"] == "clean"].sort_values("id")["pred_pert"]
    for goal in ("adversarial", "hypocritical"):
        one = ours[ours["goal"] == goal].sort_values("id")
        other = frame[(frame["attack"] == "pgd-3") & (frame["goal"] == goal)].sort_values("id")
        assert one["pred_pert"].tolist() == other["pred_pert"].tolist()
        assert one["pred_clean_defended"].tolist() == clean.tolist()
        assert one["pred_clean"].tolist() != clean.tolist()  # the bare net answers otherwise
        for column in ("pred_clean", "pred_clean_defended", "success"):
            assert one[column].tolist() == other[column].tolist()


def test_an_attacker_who_knows_goes_through_the_defense(toy, blobs, crafted) -> None:
    config = HedgeConfig(eps_d=0.1, steps=2)
    access = AdaptiveAccess(defense=Hedge(config=config))
    known = perturb_dataset(toy, blobs, BATTERY, ATTACK, model_hash="m", access=access)
    assert not torch.equal(known.x_adv, crafted.x_adv)
    nothing = AdaptiveAccess(defense=Hedge(config=HedgeConfig(eps_d=0, steps=0)))
    same = perturb_dataset(toy, blobs, BATTERY, ATTACK, model_hash="m", access=nothing)
    assert torch.equal(same.x_adv, crafted.x_adv) and torch.equal(same.x_hyp, crafted.x_hyp)


def test_examples_are_crafted_once(toy, blobs, tmp_path, monkeypatch) -> None:
    first = perturbed_once(tmp_path, toy, blobs, BATTERY, ATTACK, model_hash="m", spec=SPEC)
    monkeypatch.setattr("fftune.hedge_study.precomputed.perturb_dataset", None)
    again = perturbed_once(tmp_path, toy, blobs, BATTERY, ATTACK, model_hash="m", spec=SPEC)
    assert torch.equal(first.x_adv, again.x_adv)
    for other in (
        {"attack": AttackConfig(threat=THREAT, steps=4)},
        {"battery": BatteryConfig(steps=3, block_size=41)},
        {"model_hash": "n"},
        {"dataset": blobs.select(torch.arange(20), "test")},
        {"spec": ModelSpec(factory="fftune:other")},
    ):
        asked = {"dataset": blobs, "battery": BATTERY, "attack": ATTACK, "model_hash": "m"}
        asked |= {"spec": SPEC, **other}
        with pytest.raises(TypeError):  # it goes on to craft
            perturbed_once(tmp_path, toy, **asked)


def test_a_cache_gives_the_same_counts(toy, crafted, tmp_path) -> None:
    crafted.write(tmp_path / "c.pt")
    again = PerturbedSet.read(tmp_path / "c.pt")
    assert again.eps == THREAT.eps and torch.equal(again.x_hyp, crafted.x_hyp)
    config = HedgeConfig(eps_d=0.1, steps=2)
    rows = defended_rows(toy, crafted, config, battery=BATTERY)
    assert defended_rows(toy, again, config, battery=BATTERY).table.equals(rows.table)
    assert counts(rows) != counts(defended_rows(toy, crafted, config, battery=BATTERY, seed=1))
    (tmp_path / "c.pt").write_bytes(b"no")
    with pytest.raises(DataError, match="is damaged: .*; delete the file, and they are made again"):
        PerturbedSet.read(tmp_path / "c.pt")
