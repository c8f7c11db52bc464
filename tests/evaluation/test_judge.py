"""The driver: tiers are decided once, and what cannot be scored is reported."""

import logging
from dataclasses import replace

import pyarrow as pa
import pytest
import torch
from subjects import briefly, model_under_test
from torch import Tensor, nn

from fftune import devices
from fftune.config import BatteryConfig, DataSpec, DefenseConfig, ThreatModel
from fftune.data import load
from fftune.data.subset import sample
from fftune.devices import CPU
from fftune.errors import ConfigError, DataError, ModelError, OutOfMemoryError
from fftune.evaluation import perform
from fftune.evaluation.batteries import attacks_of
from fftune.evaluation.evaluate import evaluate
from fftune.models import verdict
from fftune.outcomes import Outcomes, rows
from fftune.report.attack_table import rates, values
from fftune.risk import Rate, UnionCounts
from tests.brief import BRIEF
from tests.report.detail_texts import table

THREAT = ThreatModel(eps=0.02)
AUTO = BatteryConfig(name="ensemble", block_size=50)


class Masked(nn.Module):
    """The toy net behind rounding: right, but its gradients point nowhere useful."""

    def __init__(self, net: nn.Module, levels: int) -> None:
        super().__init__()
        self.net, self.levels = net, levels

    def forward(self, x: Tensor) -> Tensor:
        logits = self.net(x)
        return (
            (logits * self.levels).round() / self.levels + 1e-6 * logits.sin().detach() + 0 * logits
        )


@pytest.fixture
def quick(monkeypatch):
    """Tiers and canary in a few steps."""
    from fftune.evaluation import tiers

    for name, searches in tiers.TIERS.items():
        few = briefly(searches, targets=9, apgd=8, fab=8, square=60)
        monkeypatch.setitem(tiers.TIERS, name, few)
    from fftune.evaluation import batteries as battery

    brief = briefly(tiers.CANARY_SEARCHES, targets=9, fab=5, square=200)
    monkeypatch.setattr(battery, "CANARY_SEARCHES", brief)


@pytest.mark.slow
def test_the_canary_is_every_survivor_of_few_images_and_keeps_its_tier(quick, toy, blobs) -> None:
    outcomes = evaluate(toy, blobs, AUTO, threat=ThreatModel(eps=0.001))
    assert outcomes.values("tier") == {"escalating"}
    few = outcomes.where(attack="canary")
    survivors = outcomes.where(attack="ensemble", success=False)
    assert len(few) and few.values("id") == survivors.values("id")
    again = evaluate(toy, blobs, AUTO, threat=ThreatModel(eps=0.001))
    assert again.table.equals(outcomes.table)


def test_a_masked_net_is_searched_at_full_length(quick, toy, blobs, caplog) -> None:
    """No gradient finds anything, which the lint sees; Square does, on the whole set."""
    caplog.set_level(logging.WARNING)
    net = Masked(toy, 4)
    big = ThreatModel(eps=0.2)
    with pytest.raises(ModelError, match="gradients are zero"):
        evaluate(net, blobs, BatteryConfig(name="risks"), threat=big)
    outcomes = evaluate(net, blobs, AUTO, threat=big)
    assert outcomes.values("attack") == {"autoattack"}
    assert set(outcomes.where(attack="autoattack").values("tier")) == {"full"}
    assert "tier full" in caplog.text
    assert len(outcomes.where(attack="autoattack", success=True)) > 60


class Detached(nn.Module):
    """Answers as the net does, and lets no gradient pass; its parameters still have theirs."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x.detach())


@pytest.mark.parametrize("defense", [(), ("random",), ("hedge",)])
def test_attacks_that_follow_gradients_refuse_a_net_without(defense, toy, blobs) -> None:
    settings = DefenseConfig(**BRIEF, names=defense, steps=2)
    for name in ("risks", "nine", "hypocritical", "targets"):
        battery = BatteryConfig(name=name)
        with pytest.raises(ModelError, match="net has no input gradients: .* cannot be scored"):
            evaluate(Detached(toy), blobs, battery, threat=THREAT, defense=settings)


@pytest.mark.some(3)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("tier", ["screen", "escalating", "full"])
def test_what_asks_no_gradients_is_scored_without_them(tier, precision, quick, toy, blobs) -> None:
    battery = BatteryConfig(name="ensemble", tier=tier, precision=precision)
    big = ThreatModel(eps=0.2)
    outcomes = evaluate(Detached(toy), blobs, battery, threat=big)
    found = outcomes.where(attack="autoattack")
    assert found.values("tier") == {"full"} and len(found) == 100
    assert len(found.where(success=True)) > 60


def test_square_and_rays_find_the_same_without_gradients(toy, blobs) -> None:
    blind = []
    for attack in attacks_of(BatteryConfig(name="nine"), THREAT):
        if attack.name in ("square", "rays"):
            config = replace(attack.config, steps=30)
            blind.append(replace(attack, stages=(replace(attack.stages[0], config=config),)))
    with_gradients, without = (
        evaluate(net, blobs, BatteryConfig(), threat=THREAT, attacks=blind)
        for net in (toy, Detached(toy))
    )
    assert without.values("attack") == {"square", "rays"}
    assert without.table["pred_pert"].equals(with_gradients.table["pred_pert"])


def test_modes_and_parameters_are_given_back(toy, blobs) -> None:
    toy.train()
    toy.norm.eval()
    try:
        before = {name: value.clone() for name, value in toy.state_dict().items()}
        evaluate(toy, blobs, BatteryConfig(steps=2), threat=THREAT)
        assert toy.training and toy.conv.training and not toy.norm.training
        assert all(torch.equal(value, before[name]) for name, value in toy.state_dict().items())
        assert all(p.grad is None and p.requires_grad for p in toy.parameters())
    finally:
        toy.eval()


def test_examples_are_spread_over_the_ids() -> None:
    whole = load(DataSpec(), "test")
    few, at = sample(DataSpec(), "test", 4), torch.arange(4) * len(whole) // 4
    assert torch.equal(few.ids, whole.ids[at])
    assert torch.equal(few.pixels, whole.pixels[at]) and torch.equal(few.y, whole.y[at])
    for many in (None, len(whole), 10**6):
        assert sample(DataSpec(), "test", many).hash() == whole.hash()


def test_a_net_for_other_images_is_refused_in_one_line(blobs) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(99, 8))
    with pytest.raises(ModelError, match="net does not take images of 1 x 6 x 6: ") as caught:
        evaluate(net, blobs, BatteryConfig(), threat=THREAT)
    assert "\n" not in str(caught.value)


def test_a_net_that_only_guesses_is_doubted(toy, blobs, caplog) -> None:
    evaluate(toy, blobs, BatteryConfig(steps=0), threat=THREAT)
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    others = replace(blobs, y=(blobs.y + 4) % 8)
    evaluate(toy, others, BatteryConfig(steps=0), threat=THREAT)
    assert "no better than chance, 1 of 8" in caplog.text


def test_a_net_of_other_classes_is_refused(blobs) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 5))
    with pytest.raises(ModelError, match="^net tells 5 classes apart, blobs has 8$"):
        evaluate(net, blobs, BatteryConfig(), threat=THREAT)


def test_labels_outside_the_classes_are_refused(toy, blobs) -> None:
    bad = replace(blobs, y=blobs.y + 8)
    with pytest.raises(DataError, match="labels must be from 0 to 7, got 8 to 15"):
        evaluate(toy, bad, BatteryConfig(), threat=THREAT)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused(toy, blobs) -> None:
    with pytest.raises(ConfigError, match="no CUDA device"):
        evaluate(toy, blobs, BatteryConfig(device="cuda"), threat=THREAT)


def test_without_mistakes_the_hypocritical_risk_is_undefined(toy, blobs) -> None:
    kept = (torch.arange(100) % 3 > 0).nonzero().flatten()
    outcomes = evaluate(toy, blobs.select(kept, "test"), BatteryConfig(steps=2), threat=THREAT)
    assert "concealed, of those wrong when clean: undefined (n = 0)" in table(outcomes)
    targets = BatteryConfig(name="targets", steps=2)
    nothing = evaluate(toy, blobs.select(kept, "test"), targets, threat=THREAT)
    assert "undefined (n = 0)" in table(nothing)


def test_out_of_memory_goes_on_with_smaller_blocks(toy, blobs, monkeypatch, caplog) -> None:
    whole = perform.attack_block

    def scarce(subject, block, attack, *, noise):
        if len(block[0]) > 13:
            raise torch.OutOfMemoryError("too much")
        return whole(subject, block, attack, noise=noise)

    monkeypatch.setattr(perform, "attack_block", scarce)
    outcomes = evaluate(toy, blobs, BatteryConfig(steps=2, block_size=50), threat=THREAT)
    assert len(outcomes) == 200
    assert "out of memory with 50 examples a block; going on with 25" in caplog.text
    assert outcomes.values("status") == {"ok, block of 13, block of 25"}
    monkeypatch.setattr(perform, "attack_block", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate(toy, blobs, BatteryConfig(steps=2), threat=THREAT)


def test_recordings_go_before_blocks_are_halved(toy, blobs, monkeypatch, caplog) -> None:
    """Room is scarce until what was recorded is dropped: the whole block is then tried again."""
    whole, dropped = perform.attack_block, []

    def scarce(subject, block, attack, *, noise):
        if not dropped:
            raise torch.OutOfMemoryError("too much")
        return whole(subject, block, attack, noise=noise)

    monkeypatch.setattr(perform, "attack_block", scarce)
    monkeypatch.setattr(perform, "free_memory", lambda _: dropped.append(True))
    battery = BatteryConfig(steps=2, block_size=50)
    outcomes = evaluate(toy, blobs, battery, threat=THREAT)
    assert dropped == [True] and outcomes.values("status") == {"ok"}
    assert "out of memory" not in caplog.text
    monkeypatch.undo()
    assert outcomes.table.equals(evaluate(toy, blobs, battery, threat=THREAT).table)


def test_searches_are_narrowed_before_blocks_are_halved(toy, blobs, monkeypatch, caplog) -> None:
    """A device of large batches, with room for those of 128 rows."""
    whole = perform.attack_block

    def scarce(subject, block, attack, *, noise):
        if devices.policy("cpu").width > 128:
            raise torch.OutOfMemoryError("too much")
        return whole(subject, block, attack, noise=noise)

    monkeypatch.setitem(devices._POLICIES, "cpu", replace(CPU, width=512, buckets=(64, 128, 256)))
    monkeypatch.setattr(perform, "attack_block", scarce)
    outcomes = evaluate(toy, blobs, BatteryConfig(steps=2, block_size=50), threat=THREAT)
    assert outcomes.values("status") == {"ok"}
    assert caplog.text.count("half as many rows") == 2  # 256, 128, and so for all later blocks
    assert "examples a block" not in caplog.text


def test_pieces_of_verdicts_are_no_larger_than_the_blocks_that_memory_holds(
    toy, blobs, monkeypatch
) -> None:
    """Blocks of 50, pieces of 30: halves of 25 and 13 must not be padded to more."""
    whole, seen = perform.attack_block, []

    def scarce(subject, block, attack, *, noise):
        seen.append((len(block[0]), subject.piece))
        if len(block[0]) > 13:
            raise torch.OutOfMemoryError("too much")
        return whole(subject, block, attack, noise=noise)

    monkeypatch.setattr(perform, "attack_block", scarce)
    fake = replace(CPU, piece=30)
    for place in (perform, verdict):
        monkeypatch.setattr(place, "policy", lambda _: fake)
    evaluate(toy, blobs, BatteryConfig(steps=1, block_size=50), threat=THREAT)
    assert set(seen) == {(50, None), (25, 25), (13, 13), (12, 13)}


def test_a_device_too_small_for_one_example_is_one_line(toy, blobs, monkeypatch) -> None:
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate much")

    monkeypatch.setattr(perform, "attack_block", full)
    expected = "^out of memory on cpu with one example: no block is small enough$"
    with pytest.raises(OutOfMemoryError, match=expected):
        evaluate(toy, blobs, BatteryConfig(steps=1), threat=THREAT)


def test_a_device_too_small_for_the_net_is_one_line(blobs) -> None:
    class Wide(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate much")

    expected = "^out of memory on cpu: it is too small for the net and a few images$"
    with pytest.raises(OutOfMemoryError, match=expected):
        evaluate(Wide(), blobs, BatteryConfig(steps=1), threat=THREAT)


@pytest.mark.some(2)
@pytest.mark.parametrize("name", ["risks", "targets", "hypocritical", "autoattack"])
def test_the_identities_hold_on_unions_of_every_battery(name, quick, toy, blobs) -> None:
    outcomes = evaluate(toy, blobs, BatteryConfig(name=name, steps=5), threat=THREAT)
    counts = UnionCounts.of(outcomes, split="test")
    assert counts.broken_identities() == ()
    assert counts.wrong == 34


def test_subjects_travel(toy, blobs) -> None:
    import pickle

    subject = model_under_test(toy, blobs)
    assert pickle.loads(pickle.dumps(subject)).columns == subject.columns


LOST = [  # id, clean, then pgd-20 and cw; all of class 0
    (0, 0, 0, 1),
    (1, 0, 0, 1),
    (2, 0, 1, 0),
    (3, 1, 1, 1),
    (4, 0, 0, 0),
]


def battery_rows(attack: str, preds: dict[int, int], goal: str = "adversarial") -> pa.Table:
    clean = {i: pred for i, pred, *_ in LOST}
    return rows(
        len(preds),
        {"dataset_hash": "d", "split": "test", "model_hash": "m", "norm": "linf", "eps": 0.1}
        | {"id": list(preds), "attack": attack, "goal": goal, "target": -1, "config_hash": "c"}
        | {"seed": 0, "restart": 0, "protocol": "last_iterate", "tier": "full", "defense": "none"}
        | {"defense_repeat": 0, "y": 0, "pred_clean": [clean[i] for i in preds]}
        | {"pred_pert": list(preds.values()), "success": False, "queries": 0, "forwards": 0}
        | {"backwards": 0, "distance": 0.0, "status": "ok"},
    )


def test_lost_examples_are_no_survivors() -> None:
    """Of five, 4 alone survives both. Without cw's block of 0 and 1, it is one of three."""
    pgd = battery_rows("pgd-20", {i: pred for i, _, pred, _ in LOST})
    cw = {i: pred for i, *_, pred in LOST}
    canary = battery_rows("canary", {4: 0})
    whole = Outcomes.of([pgd, battery_rows("cw", cw), canary])
    left = Outcomes.of([pgd, battery_rows("cw", {i: cw[i] for i in (2, 3, 4)}), canary])
    assert f"accuracy {Rate(1, 5)}" in table(whole) and "that every attack" not in table(whole)
    said = table(left)
    assert f"clean accuracy {Rate(4, 5)}" in said  # the first attack has all of them
    assert "only the 3 of 5 examples that every attack has rows of" in said
    assert f"{'':16s}accuracy {Rate(1, 3)}" in said
    assert f"{'':16s}adversarial risk on D+ {Rate(1, 2)}" in said
    found = values(rates(left))
    assert found["worst_case/accuracy"] == 1 / 3 and found["worst_case/n"] == 3
    assert values(rates(whole))["worst_case/n"] == 5
