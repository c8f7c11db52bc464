"""Training whose steps are recorded and replayed, against the same training without."""

import copy
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from fftune.capture import use
from fftune.capture.tape import HOST, Tape
from fftune.config import TrainConfig
from fftune.keyed_noise import Noise
from fftune.models import weights_hash
from fftune.models.specs import read_spec
from fftune.training.checkpoint import Checkpoint
from fftune.training.distributed import ProcessGroup
from fftune.training.optimizer import Updates
from fftune.training.step import Stepper, _may_record
from fftune.training.train import train
from fftune.training.trainer import Trainer
from tests.each_once import each_once
from tests.training.tinies import tiny

NETS = Path(__file__).with_name("user_net.py")


def config_of(objective: str, *, lam: float = 0.0, accumulate: int = 1, **settings) -> TrainConfig:
    """Four epochs of 48 + 48 + 4 examples: the last shape comes often enough to be recorded."""
    config = tiny(objective, epochs=4, lam=lam, **settings)
    return replace(
        config,
        optimizer=replace(config.optimizer, batch_size=48, accumulate=accumulate),
        attack=replace(config.attack, steps=min(config.attack.steps, 2)),
    )


def outcome(checkpoint: Checkpoint) -> tuple[str, list[float]]:
    return weights_hash(checkpoint.model), [epoch.loss for epoch in checkpoint.history]


def recorded(config: TrainConfig, tape: Tape | None = None, **settings: Any) -> Checkpoint:
    with use(tape or Tape()):
        return train(config, **settings)


OBJECTIVES = [
    ("standard", 0.0), ("thrm", 5.0), ("trades", 3.0), ("pgd_at", 0.0), ("fast_at", 0.0)
]  # fmt: skip


def lines(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if "unrecorded" in r.getMessage()]


@pytest.mark.some(4)
@pytest.mark.parametrize(
    ("objective", "lam", "precision", "accumulate"),
    each_once(
        [
            (objective, lam, precision, accumulate)
            for objective, lam in OBJECTIVES
            for precision, accumulate in [("fp32", 1), ("bf16", 3), ("fp32", 3), ("bf16", 1)]
        ],
        lambda case: [(case[0], feature) for feature in case[2:]],
    ),
)
def test_recorded_training_is_training_to_the_bit(
    objective, lam, precision, accumulate, caplog
) -> None:
    """Rates change at every step, weights too, and the last batch of an epoch is another shape."""
    caplog.set_level(logging.INFO)
    config = config_of(objective, lam=lam, precision=precision, accumulate=accumulate)
    tape = Tape()
    assert outcome(recorded(config, tape)) == outcome(train(config))
    assert tape.records >= 4  # two shapes of a joint step, clearing and updating
    assert tape.replays >= (46 if accumulate == 3 else 26)  # two calls at each shape come first
    assert lines(caplog) == []


@pytest.mark.some(1)
@pytest.mark.parametrize("step", [4, 8, 10])
def test_a_recorded_run_goes_on_in_the_middle_of_an_epoch(tmp_path, monkeypatch, step) -> None:
    """From a state of a plain run as from its own, with all that it recorded before forgotten; the
    average of its weights too.
    """
    config = config_of("thrm", lam=5.0)
    expected = outcome(train(config, folder=tmp_path / "plain"))
    original, count = Stepper.__call__, iter(range(10**6))

    def call(self, *args, **settings):
        if next(count) == step:
            raise KeyboardInterrupt
        return original(self, *args, **settings)

    monkeypatch.setattr(Stepper, "__call__", call)
    with pytest.raises(KeyboardInterrupt):
        recorded(config, folder=tmp_path, save_seconds=0)
    monkeypatch.undo()
    assert outcome(recorded(config, folder=tmp_path)) == expected
    averages = [read_spec(folder / "average").hash for folder in (tmp_path, tmp_path / "plain")]
    assert averages[0] == averages[1]


def test_a_trainer_that_is_loaded_again_uses_nothing_that_it_recorded(tmp_path) -> None:
    config = config_of("thrm", lam=5.0)
    with use(Tape()):
        trainer = Trainer.begin(config, ProcessGroup(), device="cpu", folder=None, save_seconds=1e9)
        first = copy.deepcopy(trainer.state_dict())
        for _ in trainer.epochs():
            pass
        ended = weights_hash(trainer.model)
        trainer.load_state_dict(first)
        for _ in trainer.epochs():
            pass
    assert weights_hash(trainer.model) == ended


def test_dropout_draws_the_same_when_it_is_recorded(tmp_path) -> None:
    config = config_of("standard", model=f"{NETS}:dropping")
    assert outcome(recorded(config)) == outcome(train(config))


def test_two_nets_do_not_share_a_recording() -> None:
    """Two trainings in turn, epoch by epoch, under one recorder."""
    configs = [config_of("thrm", lam=5.0, seed=seed) for seed in (0, 1)]
    with use(Tape()):
        trainers = [
            Trainer.begin(config, ProcessGroup(), device="cpu", folder=None, save_seconds=1e9)
            for config in configs
        ]
        for _ in zip(*(trainer.epochs() for trainer in trainers), strict=True):
            pass
    for trainer, config in zip(trainers, configs, strict=True):
        assert weights_hash(trainer.model) == weights_hash(train(config).model)


def test_a_changed_learning_rate_arrives() -> None:
    """Two groups with rates of their own, numbers before and after; momentum goes on."""
    nets = [nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    optimizers = [
        torch.optim.SGD([{"params": part.parameters()} for part in net], 0.1, 0.9, fused=True)
        for net in nets
    ]
    updates = [
        Updates(net, optimizer, recorded=on)
        for net, optimizer, on in zip(nets, optimizers, (True, False), strict=True)
    ]
    tape = Tape()
    for step in range(8):
        x = torch.rand(5, 4, generator=torch.Generator().manual_seed(step))
        for net, optimizer, update in zip(nets, optimizers, updates, strict=True):
            optimizer.param_groups[0]["lr"] = 0.01 / (step + 1)
            optimizer.param_groups[1]["lr"] = 0.03 * (step % 3)
            with use(tape):
                update.clear()
                net(x).square().sum().backward()
                update.step()
            rates = [group["lr"] for group in optimizer.param_groups]
            assert rates == [0.01 / (step + 1), 0.03 * (step % 3)]
        for one, two in zip(*(net.parameters() for net in nets), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-7)
    assert (tape.records, tape.replays) == (2, 5 + 6)  # two calls come first; clearing had nothing


def test_an_objective_that_changes_from_step_to_step_is_not_recorded(caplog) -> None:
    """`linf_dist` raises its p, a number that a recording would hold fast."""
    caplog.set_level(logging.INFO)
    config = replace(config_of("linf_dist"), width=8, model="linf_dist")
    assert outcome(recorded(config)) == outcome(train(config))
    (line,) = lines(caplog)
    assert line.endswith("the objective changes the net, or itself, from step to step")


def test_an_objective_that_looks_at_values_runs_and_is_named_once(tmp_path, caplog) -> None:
    caplog.set_level(logging.INFO)
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch.nn.functional as F\n"
        "def own(logits, logits_pert, y, *, lam):\n"
        "    loss = F.cross_entropy(logits_pert, y)\n"
        "    return F.cross_entropy(logits, y) + (lam * loss if loss.item() > 1 else loss)\n"
    )
    config = replace(config_of("standard"), objective=f"{file}:own", lam=2.0)
    assert outcome(recorded(config)) == outcome(train(config))
    (line,) = lines(caplog)
    assert line.startswith("add_gradients runs unrecorded")


def test_several_processes_record_their_crafting_alone(caplog) -> None:
    caplog.set_level(logging.INFO)
    with use(Tape()):
        assert _may_record(ProcessGroup(), None, "cpu")
        assert not _may_record(ProcessGroup(size=2), None, "cpu")
        assert not _may_record(ProcessGroup(rank=1, size=2), None, "cpu")
    assert not _may_record(ProcessGroup(), None, "cpu")
    assert lines(caplog) == [
        "the joint step runs unrecorded: gradients are exchanged between processes"
    ]


class Looks(TorchDispatchMode):
    """Notes operations that would wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, _types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in HOST - {"lift_fresh", "lift_fresh_copy"}:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("objective", "lam"), [("standard", 0.0), ("thrm", 5.0), ("trades", 3.0), ("fast_at", 0.0)]
)
def test_no_step_looks_at_a_value(objective, lam) -> None:
    """From the batch to the totals; the batch itself is the loader's business."""
    config = config_of(objective, lam=lam, accumulate=2)
    trainer = Trainer.begin(config, ProcessGroup(), device="cpu", folder=None, save_seconds=1e9)
    totals = trainer._fresh(1)
    for batch in trainer.stream.batches(1):
        with Looks() as looks:
            trainer._take(batch, totals, 1, Noise(0))
        assert looks.found == []
    with Looks() as looks:
        totals.seconds = 1.0
        totals.record(1, 100)
    assert looks.found
