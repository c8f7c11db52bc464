"""Adaptive attackers behind a defense that can be differentiated, and behind one that cannot."""

import pytest
import torch
from torch import nn

from fftune.defenses import AdaptiveAccess, DefenseSpec
from fftune.defenses.spec import NamedDefense
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.testing import check_defense

FILE = """
from fftune.defenses import DefenseSpec

def mirror(model, x, *, noise, ids):
    return x.flip(-1)

TRUE = DefenseSpec(purify=mirror, differentiable=True)
BPDA = DefenseSpec(purify=mirror)
"""


def gradient(file: str) -> torch.Tensor:
    """Of a net whose first logit is its first pixel."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        net[1].weight[:] = torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0]])
    access = AdaptiveAccess(defense=NamedDefense(name=file), leaked_draw=0)
    noise = ExampleNoise(Noise(0), torch.tensor([7]))
    behind = access.wrap(net, noise=noise, defender=Noise(1))
    x = torch.rand(1, 1, 1, 4, requires_grad=True)
    (grad,) = torch.autograd.grad(behind(x)[:, 0].sum(), x)
    return grad.flatten()


def test_the_true_gradient_is_mirrored_and_bpdas_is_not(tmp_path) -> None:
    file = tmp_path / "mirror.py"
    file.write_text(FILE)
    assert gradient(f"{file}:TRUE").tolist() == [0, 0, 0, 1]
    assert gradient(f"{file}:BPDA").tolist() == [1, 0, 0, 0]
    check_defense(f"{file}:TRUE")
    check_defense(f"{file}:BPDA")


def stacked(model, x, *, noise, ids):
    return torch.stack(list(x))


def brighter(model, x, *, noise, ids):
    return x * 1.5


def test_conformance_tells_of_a_batch_that_fails_and_of_pixels_outside() -> None:
    with pytest.raises(AssertionError, match="fails on a batch of 0 images"):
        check_defense(DefenseSpec(purify=stacked))
    with pytest.raises(AssertionError, match=r"outside \[0, 1\]"):
        check_defense(DefenseSpec(purify=brighter))
