import pytest
import torch
from torch import nn

from fftune.config import BatteryConfig, DataSpec, ThreatModel
from fftune.data import Dataset, load
from fftune.doctor.behaviours import behaviours
from fftune.doctor.check import Check
from fftune.doctor.sound import checks_of

THREAT = ThreatModel(eps=0.06)
BATTERY = BatteryConfig(steps=3, precision="fp32")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    whole = load(DataSpec(), "test")
    return whole.select(torch.arange(60), "test")


@pytest.fixture(scope="module")
def fitted() -> nn.Module:
    """The linear net that least squares fit to the training digits."""
    data = load(DataSpec(), "train")
    _, x, y = next(data.batches(len(data)))
    design = torch.cat([x.flatten(1), torch.ones(len(x), 1)], 1).double()
    ridge = design.T @ design + 10 * torch.eye(65, dtype=torch.float64)
    weight = torch.linalg.solve(ridge, design.T @ nn.functional.one_hot(y, 10).double())
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    net[1].weight.data, net[1].bias.data = weight[:64].T.float(), weight[64].float()
    return net.eval()


class Scaled(nn.Module):
    """The same decisions with a saturated softmax, whose gradient is 0 in floats."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x):
        return 1e4 * self.net(x)


def failed(checks: list[Check]) -> set[str]:
    return {check.name for check in checks if not check.passed}


def test_an_ordinary_net_passes(fitted, digits) -> None:
    found = behaviours(fitted, digits, BATTERY, threat=THREAT)
    assert len(found) == 5
    assert not failed(found), found


def test_a_masked_net_fails(fitted, digits) -> None:
    """It decides as the ordinary one does, and gradients no longer show how."""
    found = behaviours(Scaled(fitted), digits, BATTERY, threat=THREAT)
    assert "black-box attacks are no better than gradients" in failed(found), found


def test_the_five_are_judged_under_a_defense_too(fitted, digits) -> None:
    few = digits.select(torch.arange(20), "test")
    found = behaviours(fitted, few, BATTERY, threat=THREAT, defense="random")
    assert len(found) == 5 and all("n = 20" in check.evidence for check in found)


def test_a_sound_evaluation_passes(fitted, digits) -> None:
    checks = checks_of(fitted, digits, BATTERY, threat=THREAT)
    assert len(checks) == 12
    assert not failed(checks), checks


class TrainBatchNorm(nn.Module):
    """A submodule that stays in train mode whatever it is told."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.norm = net, nn.BatchNorm2d(1, affine=False)

    def forward(self, x):
        return self.net(self.norm.train()(x))


class WantsNormalised(nn.Module):
    """Fitted to [0, 1], asked as if somebody else had normalised."""

    def __init__(self, net: nn.Module, mean: float, std: float) -> None:
        super().__init__()
        self.net, self.mean, self.std = net, mean, std

    def forward(self, x):
        return self.net((x * self.std + self.mean - 0.5) ** 3 + 0.5)


class WantsBytes(Scaled):
    """Divides by 255 what was divided already."""

    def forward(self, x):
        return self.net(x / 255)


class WantsSigns(Scaled):
    """Wants [-1, 1], of which it sees the dark half: in [0, 1] there is nothing."""

    def forward(self, x):
        return self.net((x.clamp_max(0) + 1) / 2)


class Shuffled(Scaled):
    """Its classes are in another order."""

    def forward(self, x):
        return self.net(x).roll(3, 1)


class Misleading(Scaled):
    """Its gradients point the other way, so that an adversary mends."""

    def forward(self, x):
        return self.net(2 * x.detach() - x)


class Rounded(Scaled):
    def forward(self, x):
        return self.net((x * 16).round() / 16)


def test_each_flaw_is_named(fitted, digits) -> None:
    (mean,), (std,) = digits.source.mean, digits.source.std
    flaws = {
        TrainBatchNorm(fitted): {"no dependence on the batch"},
        WantsNormalised(fitted, mean, std): {"normalisation inside the net"},
        Rounded(fitted): {"gradients"},
        WantsBytes(fitted): {"input range"},
        WantsSigns(fitted): {"input range"},
        Shuffled(fitted): {"better than chance"},
        Misleading(fitted): {"identities of the risks", "gradients are those of the net"},
    }
    for net, names in flaws.items():
        assert names <= failed(checks_of(net, digits, BATTERY, threat=THREAT)), names
