"""The average of the weights and the best net, beside a last net that knows nothing of them."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from fftune.errors import ConfigError, ModelError
from fftune.models import weights_hash
from fftune.models.specs import read_spec
from fftune.training.averages import WeightAverage, copied, holding
from fftune.training.snapshots import Snapshots
from fftune.training.step import Stepper
from fftune.training.train import train
from fftune.training.validation import Validation
from tests.training.tinies import tiny

CONFIG = tiny("thrm", epochs=4, lam=5.0)
"""Eight steps: the average is far from both ends."""


class Net(nn.Module):
    """A weight, BatchNorm's statistics, a number of steps, and a constant in double precision."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("scale", torch.full((3,), 0.1, dtype=torch.float64))


def values(step: int) -> torch.Tensor:
    return torch.tensor([step**2, -step], dtype=torch.float32)


@pytest.mark.parametrize("decay", [0.25, 0.995])
def test_the_average_is_its_closed_form(decay: float) -> None:
    """Weight w_t counts with 1 - d_t, times all later d; the beginning with the product of all."""
    net = Net()
    average = WeightAverage(net, decay)
    for step in range(1, 8):
        net.weight.data.copy_(values(step))
        net.norm.running_var.fill_(step)
        net.norm.num_batches_tracked.fill_(step)
        average.update(net)
    decays = [min(decay, (1 + t) / (10 + t)) for t in range(7)]
    assert decays[0] == 0.1
    expected, variance = torch.zeros(2, dtype=torch.float64), 1.0
    for t, d in enumerate(decays):
        expected = d * expected + (1 - d) * values(t + 1).double()
        variance = d * variance + (1 - d) * (t + 1)
    assert torch.allclose(average.tensors["weight"].double(), expected, rtol=1e-6)
    assert float(average.tensors["norm.running_var"][0]) == pytest.approx(variance)
    assert int(average.tensors["norm.num_batches_tracked"]) == 7
    assert average.tensors["scale"].equal(net.scale)  # to the bit: it never changes


def test_a_net_holds_other_weights_only_for_a_while() -> None:
    net = Net()
    average = copied(net)
    average["weight"] += 1
    place = net.weight.data_ptr()
    with pytest.raises(KeyError), holding(net, average):
        assert net.weight.tolist() == [1, 1]
        raise KeyError
    assert net.weight.tolist() == [0, 0]
    assert net.weight.data_ptr() == place  # where recordings look for it


def test_an_average_of_another_net_is_refused() -> None:
    state = WeightAverage(nn.Linear(2, 3), 0.9).state_dict()
    with pytest.raises(ModelError, match="the saved average is of another net"):
        WeightAverage(nn.Linear(3, 2), 0.9).load_state_dict(state)


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_is_a_share(decay: float) -> None:
    with pytest.raises(ConfigError, match=r"average_decay must be (in \[0, 1\)|finite), got"):
        tiny(average_decay=decay)


def hashes(folder: Path) -> dict[str, str]:
    return {path.parent.name: read_spec(path.parent).hash for path in folder.glob("*/model.json")}


def test_the_last_net_is_the_same_with_an_average_and_without(tmp_path) -> None:
    beside = train(CONFIG, folder=tmp_path / "a")
    alone = train(replace(CONFIG, average_decay=0.0, validate_every=0), folder=tmp_path / "b")
    assert weights_hash(beside.model) == weights_hash(alone.model)
    assert [e.loss for e in beside.history] == [e.loss for e in alone.history]
    assert hashes(tmp_path / "a").keys() == {"checkpoint", "average", "best"}
    assert hashes(tmp_path / "b").keys() == {"checkpoint"}
    assert len(set(hashes(tmp_path / "a").values())) >= 2


def test_the_average_is_that_of_the_weights_after_each_step(tmp_path, monkeypatch) -> None:
    """The same sum in double precision, over weights that were copied after each step."""
    seen: list[dict[str, torch.Tensor]] = []
    original = WeightAverage.update

    def update(self: WeightAverage, model: nn.Module) -> None:
        seen.append(copied(model))
        original(self, model)

    monkeypatch.setattr(WeightAverage, "update", update)
    last = train(CONFIG, folder=tmp_path)
    assert len(seen) == 8
    assert all(seen[-1][n].equal(value) for n, value in copied(last.model).items())
    name = next(name for name, value in seen[0].items() if value.is_floating_point())
    begun = replace(CONFIG, optimizer=replace(CONFIG.optimizer, epochs=0))
    expected = copied(train(begun).model)[name].double()
    for t, weights in enumerate(seen):
        d = min(0.995, (1 + t) / (10 + t))
        expected = d * expected + (1 - d) * weights[name].double()
    kept = torch.load(tmp_path / "average/weights.pt", weights_only=True)
    assert torch.allclose(kept[name].double(), expected, atol=1e-6)


def test_without_a_step_the_average_is_the_net(tmp_path) -> None:
    train(tiny(epochs=0), folder=tmp_path)
    found = hashes(tmp_path)
    assert found["average"] == found["checkpoint"]


@pytest.fixture
def interrupt(monkeypatch):
    """Let training end before a step, and let the net do worse in each epoch than in the last."""
    original = Stepper.__call__

    def before(step: int, best: int = 10) -> None:
        count, shares = iter(range(10**6)), iter(range(best, 0, -1))

        def call(self, *args, **settings):
            if next(count) == step:
                raise KeyboardInterrupt
            return original(self, *args, **settings)

        monkeypatch.setattr(Stepper, "__call__", call)
        monkeypatch.setattr(Validation, "accuracy", lambda _self, _net: next(shares) / 100)

    return before


@pytest.mark.some(1)
@pytest.mark.parametrize("step", [3, 4, 7])
def test_a_killed_run_has_the_average_and_the_best_of_one_that_was_not(
    tmp_path, interrupt, step
) -> None:
    """Its later attempt has another folder, as a trial of a study: only the states are left."""
    interrupt(10**6)
    train(CONFIG, folder=tmp_path / "whole")
    interrupt(step)
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, folder=tmp_path / "cut", states=tmp_path / "states", save_seconds=0)
    interrupt(10**6, best=5)  # worse than all before: the best net is that of the first attempt
    train(CONFIG, folder=tmp_path / "again", states=tmp_path / "states")
    assert hashes(tmp_path / "again") == hashes(tmp_path / "whole")
    files = [tmp_path / name / "best/training.json" for name in ("whole", "again")]
    assert files[0].read_text() == files[1].read_text()
    assert '"epochs": 1' in files[0].read_text()


def test_a_state_of_an_older_fftune_begins_the_average_where_it_is(
    tmp_path, interrupt, caplog
) -> None:
    interrupt(3)
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, folder=tmp_path, save_seconds=0)
    states = Snapshots(tmp_path / "states")
    state = states.newest()
    assert state is not None
    del state["average"], state["best_net"]
    states.save(state, epoch=1, step=1)
    interrupt(10**6)
    with caplog.at_level(logging.INFO):
        last = train(CONFIG, folder=tmp_path)
    assert "the state is of an older fftune: the average begins at step 3" in caplog.messages
    assert hashes(tmp_path).keys() >= {"average", "checkpoint"}
    assert hashes(tmp_path)["checkpoint"] == weights_hash(last.model)


@pytest.mark.parametrize(
    ("epochs", "every", "when"),
    [
        (3, None, [1, 2, 3]),
        (10, None, list(range(1, 11))),
        (25, None, [*range(3, 25, 3), 25]),
        (4, 0, []),
        (4, 3, [3, 4]),
        (0, None, []),
    ],
)
def test_a_run_is_validated_about_ten_times(epochs, every, when) -> None:
    config = tiny(epochs=epochs, validate_every=every)
    assert [epoch for epoch in range(1, epochs + 1) if config.validates(epoch)] == when


def test_without_validation_images_there_is_no_best_net(tmp_path) -> None:
    data = replace(CONFIG.data, validation_size=0)
    train(replace(tiny(epochs=1), data=data), folder=tmp_path)
    assert hashes(tmp_path).keys() == {"average", "checkpoint"}
