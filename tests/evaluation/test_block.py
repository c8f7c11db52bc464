"""Exactness: a block is computed alike wherever, whenever and however often it runs."""

import multiprocessing
import os
import signal
from dataclasses import replace

import pyarrow.compute as pc
import pytest
import torch
from subjects import few, model_under_test
from torch import nn

from fftune.comparison import moved
from fftune.config import AttackConfig, BatteryConfig, ThreatModel
from fftune.evaluation.batteries import (
    Attack,
    attacks_of,
    canary,
    hypocritical,
    nine,
    risks,
    targets,
)
from fftune.evaluation.block import attack_block, judged_block
from fftune.evaluation.tiers import AttackStage
from fftune.keyed_noise import Noise
from fftune.models import inference_copy
from fftune.outcomes import Outcomes

THREAT = ThreatModel(eps=0.02)
NOISE = Noise(0).fold("blobs", "test")


def run(subject, data, attack: Attack, size: int = 40) -> Outcomes:
    return Outcomes.of(attack_block(subject, b, attack, noise=NOISE) for b in data.batches(size))


def short(attack: Attack) -> Attack:
    """The same probe in a few steps."""
    stages = tuple(
        replace(part, config=replace(part.config, steps=min(part.config.steps, 12)))
        for part in attack.stages
    )
    return replace(attack, stages=stages)


PROBES = [
    short(attack)
    for attack in (
        *risks(THREAT, 20),
        *nine(THREAT),
        hypocritical(THREAT, "full")[-1],
        *targets(THREAT, 20, 2),
        *nine(ThreatModel(norm="l2", eps=0.1)),
    )
]


@pytest.mark.some(6)
@pytest.mark.parametrize(
    "attack", PROBES, ids=lambda p: f"{p.name}-{p.goal}-{p.config.threat.norm}"
)
def test_any_order_and_again_gives_equal_bits(attack: Attack, toy, blobs) -> None:
    subject = model_under_test(toy, blobs)
    whole = run(subject, blobs, attack)
    blocks = list(blobs.batches(40))
    order = [blocks[2], blocks[0], blocks[1]]
    fresh = model_under_test(toy, blobs)
    stages = [attack_block(fresh, block, attack, noise=NOISE) for block in order]
    assert Outcomes.of(stages).table.equals(whole.table)


def _in_another_process(arguments):
    torch.set_num_threads(1)
    subject, block, attack = arguments
    return attack_block(subject, block, attack, noise=NOISE)


def test_other_processes_give_equal_bits(toy, blobs) -> None:
    attack = short(hypocritical(THREAT, "escalating")[-1])
    subject = model_under_test(toy, blobs)
    jobs = [(subject, block, attack) for block in blobs.batches(40)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        stages = pool.map(_in_another_process, jobs)
        pool.close()
        pool.join()  # a signal would not end them where a test before has set a handler
    assert Outcomes.of(stages).table.equals(run(subject, blobs, attack).table)


def _killed(subject, blocks, attack, folder) -> None:
    """A worker that keeps two blocks' rows and is killed in the third."""
    torch.set_num_threads(1)
    for i, block in enumerate(blocks):
        if i == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        rows = attack_block(subject, block, attack, noise=NOISE)
        Outcomes.of([rows]).write(folder / f"{i}.parquet")


@pytest.mark.some(1)
@pytest.mark.parametrize("attack", [PROBES[0], PROBES[4], short(hypocritical(THREAT, "full")[-1])])
def test_killed_half_way_and_resumed_gives_equal_bits(attack, toy, blobs, tmp_path) -> None:
    subject = model_under_test(toy, blobs)
    blocks = list(blobs.batches(20))
    worker = multiprocessing.get_context("fork").Process(
        target=_killed, args=(subject, blocks, attack, tmp_path)
    )
    worker.start()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL
    kept = Outcomes.read(*tmp_path.iterdir())
    assert len(kept) == 40
    fresh = model_under_test(toy, blobs)
    # The second block is retried as well: its rows must be the same again.
    again = attack_block(fresh, blocks[1], attack, noise=NOISE)
    assert Outcomes.of([again]).table.equals(Outcomes.read(tmp_path / "1.parquet").table)
    rest = [attack_block(fresh, block, attack, noise=NOISE) for block in blocks[2:]]
    whole = run(subject, blobs, attack, 20)
    assert Outcomes.of([kept.table, *rest]).table.equals(whole.table)


def between_sizes(subject, data, chosen, noise, whole: int, size: int) -> tuple[list, int]:
    """Every row whose prediction two block sizes do not share, with its margins in either, and
    how many rows there are."""
    listed, total = [], 0
    for attack in chosen:
        outcomes, near = [], []
        for n in (whole, size):
            found = [judged_block(subject, b, attack, noise=noise) for b in data.batches(n)]
            outcomes.append(Outcomes.of(table for table, _ in found))
            near.append({i: m for _, margins in found for i, m in margins.items()})
        total += len(outcomes[0])
        listed += [(row, *(at[row.id] for at in near)) for row in moved(*outcomes)]
    return listed, total


@pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.slow), 7, 256])
def test_other_block_sizes_move_at_most_one_prediction_in_a_thousand(size, toy, blobs) -> None:
    listed, total = between_sizes(model_under_test(toy, blobs), blobs, PROBES[:4], NOISE, 40, size)
    assert len(listed) <= 0.001 * total, listed


class ByCompany(nn.Module):
    """The toy net, but an example on its own has a larger first logit."""

    def __init__(self, net: nn.Module, more: float) -> None:
        super().__init__()
        self.net, self.more = net, more

    def forward(self, x):
        return self.net(x) + self.more * (len(x) == 1) * torch.eye(8)[0]


def test_what_block_sizes_move_is_listed_with_its_margins(toy, blobs) -> None:
    """No step is taken, so that the margins are those of the clean logits."""
    attack = short(risks(ThreatModel(eps=0.0), 0)[0])
    with torch.no_grad():
        logits = toy(blobs.pixels / 255)
    alone = logits + 0.4 * torch.eye(8)[0]
    subject = model_under_test(ByCompany(toy, 0.4), blobs)
    listed, total = between_sizes(subject, blobs, [attack], NOISE, 100, 1)
    differ = (logits.argmax(1) != alone.argmax(1)).nonzero().flatten()
    assert total == 100 and 0 < len(differ) < 100
    assert [row.id for row, *_ in listed] == blobs.ids[differ].tolist()
    for (row, *near), at in zip(listed, differ.tolist(), strict=True):
        assert row.pred == (int(logits[at].argmax()), 0)
        for margin, z in zip(near, (logits[at], alone[at]), strict=True):
            first, second = z.topk(2).values.tolist()
            assert margin == pytest.approx(first - second, abs=1e-4)
            assert 0 <= margin <= 0.4 + 1e-4


REAL = ThreatModel(eps=8 / 255)


def of_a_real_net(shared_net, cifar10, name: str, count: int, chosen):
    data = cifar10.select(torch.arange(count) * len(cifar10) // count, "test")
    net = shared_net(name)
    subject = model_under_test(net, data)
    noise = Noise(0).fold("cifar10", "test")
    for size in (1, 7):
        listed, total = between_sizes(subject, data, chosen, noise, 256, size)
        print(f"{name}: blocks of 256 and {size}: {len(listed)} of {total} moved: {listed}")
        assert len(listed) <= 0.001 * total, listed
        subject.clean.clear()


def test_real_predictions_stay_between_block_sizes(shared_net, cifar10) -> None:
    of_a_real_net(shared_net, cifar10, "fastat_small", 16, risks(REAL, 5))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fastat_small", "natural_small"])
def test_many_real_predictions_stay_between_block_sizes(name, shared_net, cifar10) -> None:
    strong = attacks_of(BatteryConfig(name="ensemble", tier="screen"), REAL)
    of_a_real_net(shared_net, cifar10, name, 256, (*risks(REAL, 20), *strong))


def test_strong_holds_everything_that_its_fixed_first_part_found(toy, blobs) -> None:
    *_, pgd20, _, _, strong = hypocritical(THREAT, "screen")
    subject = model_under_test(toy, blobs)
    fixed, best = (run(subject, blobs, attack).to_pandas() for attack in (pgd20, strong))
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
    part = AttackStage(
        config=AttackConfig(threat=THREAT, search="apgd", steps=12, protocol="first_success"),
        loss="ce",
    )
    attack = Attack(name="x", goal="adversarial", stages=(part,))
    honest, lied_to = (
        run(model_under_test(toy, blobs, surrogate_lowp=net), blobs, attack).to_pandas()
        for net in (toy, Optimist(toy))
    )
    claimed = honest["y"] != 7  # of the others it says that they cannot be fooled
    assert lied_to["success"][claimed].tolist() == honest["success"][claimed].tolist()
    assert honest["success"].mean() > 0.4


class Contrary(Optimist):
    """Says the opposite."""

    def forward(self, x):
        return -self.net(x)


def test_a_twin_that_lies_leads_fixed_searches_astray_and_changes_no_verdict(toy, blobs) -> None:
    attack = risks(THREAT, 10)[0]
    honest = model_under_test(toy, blobs)
    lied_to = replace(honest, surrogate=Contrary(toy))
    found, astray = (run(subject, blobs, attack).to_pandas() for subject in (honest, lied_to))
    right = found["pred_clean"] == found["y"]
    assert found["success"][right].mean() > 0.2
    assert astray["success"][right].sum() == 0
    assert (astray["pred_pert"] == astray["y"])[right].all()


def test_bf16_search_is_confirmed_in_fp32(toy, blobs) -> None:
    attack = short(probes_of("strong"))
    exact = run(model_under_test(toy, blobs), blobs, attack)
    copied = inference_copy(toy, "bf16", few(blobs))
    half = run(model_under_test(toy, blobs, surrogate_lowp=copied), blobs, attack)
    # Another search net may find other points; what it found must be true.
    differ = pc.sum(pc.not_equal(half.table["success"], exact.table["success"])).as_py()
    assert differ <= 2


def probes_of(name: str) -> Attack:
    return next(p for p in hypocritical(THREAT, "full") if p.name == name)


def test_folded_copies_say_the_same(toy, blobs) -> None:
    copy = inference_copy(toy, "fp32", few(blobs))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in copy.modules())
    assert not any(parameter.requires_grad for parameter in copy.parameters())
    x = blobs.pixels / 255
    with torch.no_grad():
        torch.testing.assert_close(copy(x), toy(x), rtol=1e-4, atol=1e-5)
    assert all(parameter.requires_grad for parameter in toy.parameters())


def test_what_was_not_found_is_said_and_left_alone(toy, blobs) -> None:
    still = ThreatModel(eps=0.0)
    fab = next(p for p in nine(still) if p.name == "fab-t")
    rows = run(model_under_test(toy, blobs), blobs, short(fab)).to_pandas()
    right = rows["pred_clean"] == rows["y"]
    assert set(rows[right]["status"]) == {"not-found"}
    assert set(rows[~right]["status"]) == {"ok"}
    assert set(rows["distance"]) == {0.0}


def test_targets_speak_of_wrong_examples_and_name_their_class(toy, blobs) -> None:
    *every, own = targets(THREAT, 5, 8)
    assert [attack.target for attack in every] == list(range(8))
    subject = model_under_test(toy, blobs)
    tables = [run(subject, blobs, attack).to_pandas() for attack in (*every, own)]
    for target, table in enumerate(tables[:-1]):
        assert len(table) == 34 and set(table["target"]) == {target}
        assert bool((table["success"] == (table["pred_pert"] == target)).all())
    # At its own class, each example's target and its hypocritical attack are one search.
    for target, table in enumerate(tables[:-1]):
        own_rows = tables[-1][tables[-1]["y"] == target]
        same = table[table["id"].isin(own_rows["id"])]
        assert same["pred_pert"].tolist() == own_rows["pred_pert"].tolist()


def test_only_the_full_length_is_called_autoattack() -> None:
    for tier, name in (("screen", "ensemble"), ("escalating", "ensemble"), ("full", "autoattack")):
        (attack,) = attacks_of(BatteryConfig(name="ensemble", tier=tier), THREAT)
        assert attack.name == name
    searches = [part.config.search for part in attack.stages]
    assert searches == ["apgd", "apgd", "fab", "square"]
    assert [part.config.steps for part in attack.stages] == [100, 100, 100, 5000]
    assert [part.config.targets for part in attack.stages] == [0, 9, 9, 0]
    assert [p.config.search for p in canary(attack).stages] == ["fab", "square"]
