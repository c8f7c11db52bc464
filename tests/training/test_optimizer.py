import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from fftune.config import OptimizerConfig, TrainConfig
from fftune.errors import ConfigError
from fftune.models.linf_training import ADAM_EPS, BETAS
from fftune.recipes import Basis, training
from fftune.training.optimizer import between, make_optimizer, make_schedule


def rates(config: TrainConfig, per_epoch: int) -> list[float]:
    """The learning rate of every step."""
    optimizer = make_optimizer(nn.Linear(2, 2), config)
    epochs = config.optimizer.epochs
    schedule = make_schedule(optimizer, config, [per_epoch] * epochs)
    found = []
    for _ in range(epochs * per_epoch):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_step_decays_where_its_milestones_epochs_begin() -> None:
    """P1, A.1: .1, a tenth of it in the 100th epoch, a hundredth in the 105th."""
    config = training("standard", Basis(scale="full", data="cifar10"))
    found = rates(config, 4)
    assert found[0] == found[399] == pytest.approx(0.1)
    assert found[400] == found[419] == pytest.approx(0.01)
    assert found[420] == found[-1] == pytest.approx(0.001)


def test_fast_at_rises_to_the_middle_and_falls_to_nothing() -> None:
    found = rates(training("fast_at", Basis(scale="full")), 2)
    assert found[14] == pytest.approx(0.2)  # the step that ends at epoch 7.5
    assert found[0] == pytest.approx(0.2 / 15)
    assert found[-1] == 0
    assert found[:15] == sorted(found[:15])
    assert found[14:] == sorted(found[14:], reverse=True)


def test_fast_at_on_imagenet_goes_through_the_knots_of_its_code() -> None:
    config = training("fast_at", Basis(scale="full", data="imagenet"))
    expected = {0.5: 0.2, 1: 0.4, 3.5: 0.22, 6: 0.04, 9: 0.022, 12: 0.004, 15: 0.0004}
    for epoch, rate in expected.items():
        assert between(config.optimizer.knots, epoch) == pytest.approx(rate)
    steps = [2] * 6 + [3] * 6 + [4] * 3  # phases have batches of their own
    optimizer = make_optimizer(nn.Linear(2, 2), config)
    schedule = make_schedule(optimizer, config, steps)
    found = []
    for _ in range(sum(steps)):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert found[11] == pytest.approx(0.04)
    assert found[29] == pytest.approx(0.004)
    assert found[-1] == pytest.approx(0.0004)


def test_one_cycle_peaks_at_its_rate_and_ends_near_nothing() -> None:
    config = replace(TrainConfig(), optimizer=OptimizerConfig(epochs=10, lr=0.3))
    found = rates(config, 10)
    assert max(found) == pytest.approx(0.3, rel=1e-3)
    assert found[-1] < 1e-4


@pytest.mark.parametrize("schedule", ["one_cycle", "step"])
def test_momentum_is_what_the_setting_says_at_every_step(schedule) -> None:
    settings = OptimizerConfig(epochs=5, momentum=0.8, schedule=schedule)
    config = replace(TrainConfig(), optimizer=settings)
    optimizer = make_optimizer(nn.Linear(2, 2), config)
    schedule = make_schedule(optimizer, config, [4] * 5)
    found = set()
    for _ in range(20):
        found.add(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        schedule.step()
    assert found == {0.8}


def test_weight_decay_can_leave_batchnorm_out() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    for decay_norm, expected in ((True, 7e-4), (False, 0.0)):
        settings = OptimizerConfig(weight_decay=7e-4, decay_norm=decay_norm)
        optimizer = make_optimizer(model, replace(TrainConfig(), optimizer=settings))
        decays = {
            p: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
        }
        assert len(decays) == len(list(model.parameters()))
        assert decays[model[1].weight] == decays[model[1].bias] == expected
        assert decays[model[0].weight] == decays[model[3].bias] == 7e-4


def test_sgd_takes_the_steps_of_its_definition() -> None:
    """v = m v + g + wd w; w -= lr v. Two steps by hand."""
    settings = OptimizerConfig(lr=0.1, momentum=0.5, weight_decay=0.2, schedule="step")
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(1.0)
    optimizer = make_optimizer(model, replace(TrainConfig(), optimizer=settings))
    for _ in range(2):
        model.weight.grad = torch.full((1, 1), 2.0)
        optimizer.step()
    first = 1 - 0.1 * 2.2
    second = first - 0.1 * (0.5 * 2.2 + 2 + 0.2 * first)
    assert float(model.weight.detach()) == pytest.approx(second)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"schedule": "linear", "knots": ((0, 0.1),)},
            "knots must be ascending from epoch 0 to 40",
        ),
        ({"schedule": "linear", "knots": ((0, 0.1), (39, 0.0))}, "ascending from epoch 0 to 40"),
        ({"schedule": "linear", "knots": ((0, 0.1), (40, -1.0))}, "knots must be rates >= 0"),
        ({"milestones": (5, 3)}, "milestones must be ascending"),
        ({"lr": math.nan}, "lr must be finite, got nan"),
        ({"accumulate": 0}, "accumulate must be >= 1"),
    ],
)
def test_impossible_schedules_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        OptimizerConfig(**settings)


@pytest.mark.parametrize(
    ("recipe", "plain"),
    [
        ("thrm", lambda p, lr: torch.optim.SGD(p, lr, 0.9, weight_decay=0.01, fused=True)),
        ("linf_dist", lambda p, lr: torch.optim.Adam(p, lr, BETAS, ADAM_EPS, fused=True)),
    ],
)
def test_steps_and_states_are_those_of_torchs_own(recipe: str, plain) -> None:
    torch.manual_seed(0)
    net, other = nn.Linear(5, 3), nn.Linear(5, 3)
    other.load_state_dict(net.state_dict())
    config = training(recipe, Basis(scale="tiny"))
    config = replace(config, optimizer=replace(config.optimizer, momentum=0.9, weight_decay=0.01))
    ours, theirs = make_optimizer(net, config), plain(other.parameters(), config.lr)
    for step in range(5):
        x = torch.randn(4, 5)
        for model, optimizer in ((net, ours), (other, theirs)):
            optimizer.zero_grad()
            (model(x) ** 2).sum().backward()
            optimizer.step()
        assert all(map(torch.equal, net.parameters(), other.parameters()))
        if step == 2:
            ours.load_state_dict(ours.state_dict())
    assert torch.is_grad_enabled()
    assert ours.state_dict()["state"].keys() == theirs.state_dict()["state"].keys()
