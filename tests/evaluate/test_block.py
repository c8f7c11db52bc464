"""Exactness: a block is computed alike wherever, whenever and however often it runs."""

import multiprocessing
from dataclasses import replace

import pyarrow.compute as pc
import pytest
import torch
from subjects import subject_of
from torch import nn

from fftune.config import AttackConfig, ThreatModel
from fftune.evaluate.battery import Probe, canary, hypocritical, nine, probes, risks, targets
from fftune.evaluate.block import attack_block
from fftune.evaluate.tiers import Part
from fftune.models import search_copy
from fftune.noise import Noise
from fftune.outcomes import Outcomes

THREAT = ThreatModel(eps=0.02)
NOISE = Noise(0).fold("blobs", "test")


def run(subject, data, probe: Probe, size: int = 40) -> Outcomes:
    return Outcomes.of(attack_block(subject, b, probe, noise=NOISE) for b in data.batches(size))


def short(probe: Probe) -> Probe:
    """The same probe in a few steps."""
    parts = tuple(
        replace(part, config=replace(part.config, steps=min(part.config.steps, 12)))
        for part in probe.parts
    )
    return replace(probe, parts=parts)


PROBES = [
    short(probe)
    for probe in (
        *risks(THREAT, 20),
        *nine(THREAT),
        hypocritical(THREAT, "full")[-1],
        *targets(THREAT, 20, 2),
        *nine(ThreatModel(norm="l2", eps=0.1)),
    )
]


@pytest.mark.parametrize(
    "probe", PROBES, ids=lambda p: f"{p.attack}-{p.goal}-{p.config.threat.norm}"
)
def test_any_order_and_again_gives_equal_bits(probe: Probe, toy, blobs) -> None:
    subject = subject_of(toy, blobs, search_net=search_copy(toy, "fp32"))
    whole = run(subject, blobs, probe)
    blocks = list(blobs.batches(40))
    order = [blocks[2], blocks[0], blocks[1]]
    fresh = subject_of(toy, blobs, search_net=search_copy(toy, "fp32"))
    parts = [attack_block(fresh, block, probe, noise=NOISE) for block in order]
    assert Outcomes.of(parts).table.equals(whole.table)


def _in_another_process(arguments):
    torch.set_num_threads(1)
    subject, block, probe = arguments
    return attack_block(subject, block, probe, noise=NOISE)


def test_other_processes_give_equal_bits(toy, blobs) -> None:
    probe = short(hypocritical(THREAT, "standard")[-1])
    subject = subject_of(toy, blobs)
    jobs = [(subject, block, probe) for block in blobs.batches(40)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        parts = pool.map(_in_another_process, jobs)
    assert Outcomes.of(parts).table.equals(run(subject, blobs, probe).table)


@pytest.mark.parametrize("size", [1, 7, 256])
def test_other_block_sizes_move_at_most_one_prediction_in_a_thousand(size, toy, blobs) -> None:
    subject, moved, total = subject_of(toy, blobs), [], 0
    for probe in PROBES[:4]:
        one, other = run(subject, blobs, probe), run(subject, blobs, probe, size)
        differ = pc.not_equal(one.table["pred_pert"], other.table["pred_pert"])
        moved += [(probe.attack, i) for i in one.table["id"].filter(differ).to_pylist()]
        total += len(one)
    assert len(moved) <= 0.001 * total, moved


def test_strong_holds_everything_that_its_fixed_first_part_found(toy, blobs) -> None:
    *_, pgd20, _, _, strong = hypocritical(THREAT, "screen")
    subject = subject_of(toy, blobs, search_net=search_copy(toy, "fp32"))
    fixed, best = (run(subject, blobs, probe).to_pandas() for probe in (pgd20, strong))
    wrong = fixed["pred_clean"] != fixed["y"]
    assert bool((best["success"] | ~fixed["success"] | ~wrong).all())
    assert best["success"].sum() >= fixed["success"].sum()


class Optimist(nn.Module):
    """Claims that every image is of the last class, with gradients of the true net."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x):
        logits = self.net(x)
        return logits + 100 * nn.functional.one_hot(torch.tensor(7), 8)


def test_a_search_net_that_lies_changes_no_verdict(toy, blobs) -> None:
    """Its claims are denied by the untouched net, and the search is run again there."""
    part = Part(
        config=AttackConfig(threat=THREAT, search="apgd", steps=12, protocol="strong"), loss="ce"
    )
    probe = Probe(attack="x", goal="adversarial", parts=(part,))
    honest, lied_to = (
        run(subject_of(toy, blobs, search_net=net), blobs, probe).to_pandas()
        for net in (toy, Optimist(toy))
    )
    claimed = honest["y"] != 7  # of the others it says that they cannot be fooled
    assert lied_to["success"][claimed].tolist() == honest["success"][claimed].tolist()
    assert honest["success"].mean() > 0.4


def test_bf16_search_is_confirmed_in_fp32(toy, blobs) -> None:
    probe = short(probes_of("strong"))
    exact = run(subject_of(toy, blobs), blobs, probe)
    half = run(subject_of(toy, blobs, search_net=search_copy(toy, "bf16")), blobs, probe)
    # Another search net may find other points; what it found must be true.
    differ = pc.sum(pc.not_equal(half.table["success"], exact.table["success"])).as_py()
    assert differ <= 2


def probes_of(name: str) -> Probe:
    return next(p for p in hypocritical(THREAT, "full") if p.attack == name)


def test_folded_copies_say_the_same(toy, blobs) -> None:
    copy = search_copy(toy, "fp32")
    assert not any(isinstance(module, nn.BatchNorm2d) for module in copy.modules())
    assert not any(parameter.requires_grad for parameter in copy.parameters())
    x = blobs.pixels / 255
    with torch.no_grad():
        torch.testing.assert_close(copy(x), toy(x), rtol=1e-4, atol=1e-5)
    assert all(parameter.requires_grad for parameter in toy.parameters())


def test_what_was_not_found_is_said_and_left_alone(toy, blobs) -> None:
    still = ThreatModel(eps=0.0)
    fab = next(p for p in nine(still) if p.attack == "fab-t")
    rows = run(subject_of(toy, blobs), blobs, short(fab)).to_pandas()
    right = rows["pred_clean"] == rows["y"]
    assert set(rows[right]["status"]) == {"not-found"}
    assert set(rows[~right]["status"]) == {"ok"}
    assert set(rows["distance"]) == {0.0}


def test_targets_speak_of_wrong_examples_and_name_their_class(toy, blobs) -> None:
    *every, own = targets(THREAT, 5, 8)
    assert [probe.target for probe in every] == list(range(8))
    subject = subject_of(toy, blobs)
    tables = [run(subject, blobs, probe).to_pandas() for probe in (*every, own)]
    for target, table in enumerate(tables[:-1]):
        assert len(table) == 34 and set(table["target"]) == {target}
        assert bool((table["success"] == (table["pred_pert"] == target)).all())
    # At its own class, each example's target and its hypocritical attack are one search.
    for target, table in enumerate(tables[:-1]):
        own_rows = tables[-1][tables[-1]["y"] == target]
        same = table[table["id"].isin(own_rows["id"])]
        assert same["pred_pert"].tolist() == own_rows["pred_pert"].tolist()


def test_only_the_full_length_is_called_autoattack() -> None:
    from fftune.config import BatteryConfig

    for tier, name in (("screen", "strong"), ("standard", "strong"), ("full", "autoattack")):
        (probe,) = probes(BatteryConfig(name="autoattack", tier=tier), THREAT)
        assert probe.attack == name
    searches = [part.config.search for part in probe.parts]
    assert searches == ["apgd", "apgd", "fab", "square"]
    assert [part.config.steps for part in probe.parts] == [100, 100, 100, 5000]
    assert [part.config.targets for part in probe.parts] == [0, 9, 9, 0]
    assert [p.config.search for p in canary(probe).parts] == ["fab", "square"]
