"""Recorded training on a card against the same training that is not recorded."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from fftune.capture import first_use
from fftune.config import TrainConfig
from fftune.errors import DivergedError
from fftune.keyed_noise import Noise
from fftune.models import eval_mode
from fftune.training.checkpoint import Checkpoint
from fftune.training.distributed import ProcessGroup
from fftune.training.fused import train_fused
from fftune.training.optimizer import Updates
from fftune.training.train import train
from fftune.training.trainer import Trainer
from tests.training.test_recorded import config_of

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
OBJECTIVES = [("standard", 0.0), ("thrm", 5.0), ("trades", 3.0), ("pgd_at", 0.0), ("fast_at", 0.0)]


@contextmanager
def no_wait() -> Iterator[None]:
    """Raise where the host waits for the device."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture(autouse=True)
def exact(monkeypatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


def slow(objective: str, lam: float, **settings) -> TrainConfig:
    """At a small rate, so that rounding does not grow from step to step."""
    config = config_of(objective, lam=lam, device="cuda", **settings)
    return replace(config, optimizer=replace(config.optimizer, lr=1e-3))


def begun(config: TrainConfig) -> Trainer:
    return Trainer.begin(config, ProcessGroup(), device="cuda", folder=None, save_seconds=1e9)


def run(trainer: Trainer, epochs: int = 4) -> Tensor:
    """The losses of all steps, for an example each."""
    found = []
    for epoch in range(1, epochs + 1):
        trainer.totals = totals = trainer._fresh(epoch)
        for batch in trainer.stream.batches(epoch):
            trainer._take(batch, totals, epoch, Noise(0).fold("epoch", epoch))
        sizes = [trainer.stream.share(epoch, step)[1] for step in range(totals.step)]
        found.append(totals.losses.cpu() / torch.tensor(sizes))
    return torch.cat(found)


@pytest.mark.parametrize(("objective", "lam"), OBJECTIVES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_recorded_step_is_the_step(objective, lam, precision, accumulate, monkeypatch) -> None:
    config = slow(objective, lam, precision=precision, accumulate=accumulate)
    replayed = first_use().replayed
    ours = run(begun(config))
    assert first_use().replayed >= replayed + 12
    monkeypatch.setenv("FFTUNE_CAPTURE", "off")
    theirs = run(begun(config))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("objective", "lam"), OBJECTIVES)
def test_no_step_waits(objective, lam) -> None:
    trainer = begun(slow(objective, lam, precision="bf16"))
    run(trainer, 3)
    totals = trainer._fresh(4)
    batches = list(trainer.stream.batches(4))
    torch.cuda.synchronize()
    for batch in batches:
        with no_wait():
            trainer._take(batch, totals, 4, Noise(0))


def test_a_changed_learning_rate_arrives() -> None:
    nets = [nn.Linear(4, 3).cuda() for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    optimizers = [torch.optim.SGD(net.parameters(), 0.1, 0.9, fused=True) for net in nets]
    updates = [
        Updates(net, optimizer, recorded=on)
        for net, optimizer, on in zip(nets, optimizers, (True, False), strict=True)
    ]
    for step in range(8):
        x = torch.rand(5, 4, device="cuda")
        for net, optimizer, update in zip(nets, optimizers, updates, strict=True):
            optimizer.param_groups[0]["lr"] = 0.03 * (step % 3)
            update.clear()
            net(x).square().sum().backward()
            update.step()
            assert optimizer.param_groups[0]["lr"] == 0.03 * (step % 3)
        torch.testing.assert_close(nets[0].weight, nets[1].weight, rtol=1e-5, atol=1e-6)


def test_two_nets_do_not_share_a_graph() -> None:
    """Two trainings in turn are two trainings."""
    configs = [slow("thrm", 5.0, seed=seed) for seed in (0, 1)]
    alone = [run(begun(config), 3) for config in configs]
    trainers = [begun(config) for config in configs]
    together: list[list[Tensor]] = [[], []]
    for epoch in (1, 2, 3):
        for trainer, found in zip(trainers, together, strict=True):
            totals = trainer._fresh(epoch)
            for batch in trainer.stream.batches(epoch):
                trainer._take(batch, totals, epoch, Noise(0).fold("epoch", epoch))
            sizes = [trainer.stream.share(epoch, step)[1] for step in range(totals.step)]
            found.append(totals.losses.cpu() / torch.tensor(sizes))
    for one, two in zip(alone, together, strict=True):
        torch.testing.assert_close(one, torch.cat(two), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_crafting_follows_the_weights(precision) -> None:
    """After many replays the copy answers as the net does now, not as it did."""
    trainer = begun(replace(slow("thrm", 5.0, precision=precision), seed=2))
    x = torch.rand(8, *trainer.stream.inputs.shape, device="cuda")
    with eval_mode(trainer.model), torch.no_grad():
        before = trainer.model(x)
    for group in trainer.optimizer.param_groups:
        group["initial_lr"] = group["lr"] = 0.1
    run(trainer)
    crafted_on = trainer.stepper.crafted_on
    assert crafted_on is not None
    with crafted_on.current() as asked, torch.no_grad():
        found = asked(x)
    with eval_mode(trainer.model), torch.no_grad():
        now = trainer.model(x)
    assert (found - now).norm() < 0.05 * (now - before).norm()


def test_nets_side_by_side_are_the_nets_alone() -> None:
    """Recorded both ways; one that diverges, the second, takes no other along."""
    configs = [slow("thrm", lam) for lam in (1.0, 1e30, 20.0)]
    outcomes = train_fused(configs)
    assert isinstance(outcomes[1], DivergedError)
    for index in (0, 2):
        ours, theirs = outcomes[index], train(configs[index])
        assert isinstance(ours, Checkpoint)
        losses = [[epoch.loss for epoch in one.history] for one in (ours, theirs)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-3)
        states = [one.model.state_dict() for one in (ours, theirs)]
        for name, value in states[0].items():
            torch.testing.assert_close(value, states[1][name], rtol=1e-3, atol=1e-3)
