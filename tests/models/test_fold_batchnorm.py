"""Copies without BatchNorm: the same function, also after the net has trained on."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fftune.config import InputSpec
from fftune.models import eval_mode, fold, inference_copy, make_model
from fftune.models.fold_batchnorm import refresh

SMALL = InputSpec(shape=(3, 16, 16), classes=10, mean=(0.5,) * 3, std=(0.25,) * 3)


def norms_of(net: nn.Module) -> int:
    return sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in net.modules())


class Scaled(nn.Module):
    """A parameter and a buffer of its own, and a weight that two layers share."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("shift", torch.tensor(0.5))

    def forward(self, x):
        z = self.norm(self.conv(self.scale * x + self.shift)).mean((2, 3))
        return self.second(F.relu(self.first(z)))


NETS = {
    "small_resnet": lambda: make_model("small_resnet", SMALL, width=4),
    "resnet18": lambda: make_model("resnet18", SMALL, width=4),
    "scaled": Scaled,
}


@pytest.mark.parametrize("name", NETS)
def test_a_refreshed_copy_is_the_net_that_has_trained_on(name: str) -> None:
    """In float64, where folding is invisible; statistics, weights and buffers have all moved."""
    net = NETS[name]().double()
    x = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double()
    with eval_mode(net):
        folded = fold(net, x)
    assert folded is not None and norms_of(net) > norms_of(folded.net) == 0
    begun = folded.net(x)
    optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(net(x), torch.arange(4)).backward()
        optimizer.step()
    for buffer in net.buffers():
        if buffer.dim() == 0 and buffer.is_floating_point():
            buffer += 0.25
    assert torch.equal(folded.net(x), begun)
    refresh(folded.net, net, folded.norms)
    with eval_mode(net):
        torch.testing.assert_close(folded.net(x), net(x), rtol=1e-9, atol=1e-9)
    assert not torch.allclose(folded.net(x), begun, atol=1e-3)


class Twice(nn.Module):
    """One convolution before two BatchNorms: neither can be folded into it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.first, self.second = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        nn.init.constant_(self.second.weight, 3.0)

    def forward(self, x):
        return self.second(self.conv(self.first(self.conv(x)))).mean((2, 3))


def test_a_convolution_that_is_called_twice_keeps_its_batchnorms() -> None:
    net, x = Twice().eval(), torch.rand(4, 3, 8, 8)
    folded = fold(net, x)
    assert folded is not None and norms_of(folded.net) == 2
    assert torch.equal(folded.net(x), net(x))


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        z = self.norm(self.conv(x)).mean((2, 3))
        return z if z.sum() > 0 else -z


def test_a_net_whose_way_depends_on_its_input_is_left_alone() -> None:
    net, x = Branching().eval(), torch.rand(4, 3, 8, 8)
    assert fold(net, x) is None
    copied = inference_copy(net, "fp32", x)
    assert norms_of(copied) == 1
    torch.testing.assert_close(copied(x), net(x))


class Fickle(nn.Module):
    """Draws at random, which tracing would freeze into one draw."""

    def __init__(self, spread: float) -> None:
        super().__init__()
        self.conv, self.norm, self.spread = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), spread

    def forward(self, x):
        return self.norm(self.conv(x + self.spread * torch.rand(1))).mean((2, 3))


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_a_net_that_draws_at_random_goes_on_doing_so_in_its_copy(spread: float) -> None:
    x = torch.rand(4, 3, 8, 8)
    copied = inference_copy(Fickle(spread).eval(), "fp32", x)
    norms = [m for m in copied.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == (spread > 0)
    assert torch.equal(copied(x), copied(x)) == (spread == 0)


def test_a_net_that_refuses_images_is_left_to_say_so_itself() -> None:
    """It can be written down, and only then refuses, with an error of another kind."""
    net, x = nn.Sequential(nn.Flatten(), nn.BatchNorm2d(3)).eval(), torch.rand(4, 3, 8, 8)
    assert fold(net, x) is None
    with pytest.raises(ValueError, match="expected 4D input"):
        inference_copy(net, "fp32", x)(x)
