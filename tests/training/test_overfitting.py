"""FastAT's catastrophic overfitting is noticed, and the epoch before it counts."""

import copy

import pytest
import torch
from torch import nn

from fftune.data import load
from fftune.models import weights_hash
from fftune.training.distributed import ProcessGroup
from fftune.training.overfitting import OverfittingWatch
from fftune.training.train import train
from tests.training.tinies import tiny


@pytest.fixture
def watch() -> OverfittingWatch:
    config = tiny("fast_at")
    watch = OverfittingWatch.of(config, ProcessGroup())
    assert watch is not None
    watch.batch = next(load(config.data, "train").batches(50))
    return watch


def constant(label: int) -> nn.Module:
    """A net that gives every image the same label; its gradients are zero."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    nn.init.zeros_(model[1].weight)
    model[1].bias.data = torch.nn.functional.one_hot(torch.tensor(label), 10).float()
    return model


def test_a_fall_stops_training_and_gives_the_weights_back(watch: OverfittingWatch) -> None:
    assert watch.batch is not None
    ids, x, y = watch.batch
    watch.batch = (ids, x, torch.full_like(y, 3))
    good = constant(3)
    robust, stopped = watch.look(good, 1)
    assert (robust, stopped) == (1.0, "")
    bad = constant(4)
    robust, stopped = watch.look(bad, 2)
    assert robust == 0.0
    assert "catastrophic overfitting in epoch 2: PGD-5 accuracy on a training batch fell" in stopped
    assert "the weights of epoch 1 are kept" in stopped
    assert weights_hash(bad) == weights_hash(good)


def test_a_small_fall_does_not(watch: OverfittingWatch) -> None:
    assert watch.batch is not None
    ids, x, _ = watch.batch
    labels = torch.tensor([3] * 41 + [4] * 9)  # 100 % to 82 %: less than a fifth
    watch.batch = (ids, x, torch.full((50,), 3))
    watch.look(constant(3), 1)
    watch.batch = (ids, x, labels)
    assert watch.look(constant(3), 2) == (pytest.approx(0.82), "")


def test_only_one_step_training_is_watched() -> None:
    assert OverfittingWatch.of(tiny("pgd_at"), ProcessGroup()) is None
    assert OverfittingWatch.of(tiny("standard"), ProcessGroup()) is None


def test_a_run_that_overfits_ends_early_and_says_so(monkeypatch) -> None:
    accuracies = iter([0.6, 0.7, 0.1])
    monkeypatch.setattr(OverfittingWatch, "_accuracy", lambda *_: next(accuracies))
    kept = []
    checkpoint = train(
        tiny("fast_at", epochs=9),
        on_epoch=lambda _, model: kept.append(weights_hash(copy.deepcopy(model))),
    )
    assert [e.robust_accuracy for e in checkpoint.history] == [0.6, 0.7, 0.1]
    assert "fell from 0.700 to 0.100" in checkpoint.stopped
    assert weights_hash(checkpoint.model) == kept[1]
