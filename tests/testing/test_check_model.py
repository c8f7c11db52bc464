"""The conformance test of nets: ours pass, and each kind of mistake is named."""

import pytest

from fftune.errors import ModelError
from fftune.testing.models import check_model


@pytest.mark.parametrize("name", ["small_cnn", "small_resnet", "mlp", "resnet18", "linf_dist"])
def test_the_packages_nets_conform(name: str) -> None:
    check_model(name, width=4)


FILE = """
import torch
from torch import nn
from fftune.models import ModelEntry

class Mean(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3 * 32 * 32, 10)
    def forward(self, x):
        return self.layer(x.flatten(1) - x.flatten(1).mean(0))

class Blind(Mean):
    def forward(self, x):
        return self.layer(x.flatten(1).detach()).detach()

class Hidden(Mean):
    def __init__(self):
        super().__init__()
        self.scale = torch.rand(1)
    def forward(self, x):
        return self.layer(x.flatten(1)) * self.scale

def good():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))

def five():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 5))

ENTRY = ModelEntry(build=lambda inputs, *, width: nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)))
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("good", ""),
        ("ENTRY", ""),
        ("five", "tells 5 classes apart"),
        ("Mean", "must not depend on the other examples"),
        ("Blind", "gradients must lead"),
        ("Hidden", "state_dict must hold all"),
    ],
)
def test_nets_of_a_file(tmp_path, name, message) -> None:
    file = tmp_path / "nets.py"
    file.write_text(FILE)
    if not message:
        check_model(f"{file}:{name}")
        return
    with pytest.raises((AssertionError, ModelError), match=message):
        check_model(f"{file}:{name}")
