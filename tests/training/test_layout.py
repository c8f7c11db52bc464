import copy
import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fftune.config import InputSpec
from fftune.training.step import layout_of
from fftune.training.train import train
from tests.training.tinies import tiny

NETS = Path(__file__).with_name("user_net.py")
INPUTS = InputSpec(shape=(3, 4, 4), classes=5, mean=(0.5,) * 3, std=(0.5,) * 3)


@pytest.mark.parametrize("objective", ["standard", "thrm"])
def test_a_net_with_view_after_a_convolution_is_trained(objective) -> None:
    """And becomes what the same net becomes that says `flatten`, which takes any layout."""
    lam = 5.0 if objective == "thrm" else 0.0
    weights = [
        train(tiny(objective, 2, lam=lam, model=f"{NETS}:{net}")).model.state_dict()
        for net in ("viewed", "flattened")
    ]
    for one, two in zip(*(list(each.values()) for each in weights), strict=True):
        torch.testing.assert_close(one.contiguous(), two.contiguous(), rtol=1e-2, atol=1e-3)


class Net(nn.Module):
    """A convolution and a layer, with what lies between them."""

    def __init__(self, between) -> None:
        super().__init__()
        self.convolution, self.head = nn.Conv2d(3, 2, 3, padding=1), nn.Linear(32, 5)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.between(self, self.convolution(x)))


def refuse(_net: Net, _x: Tensor) -> Tensor:
    raise RuntimeError("not today")


@pytest.mark.parametrize(
    ("between", "last", "said"),
    [
        (lambda _, x: x.flatten(1), True, ""),
        # By chance in train mode alone.
        (lambda net, x: nn.functional.dropout(x, training=net.training).flatten(1), True, ""),
        (lambda _, x: x.view(len(x), -1), False, "channels first, as the net cannot have them"),
        (lambda _, x: (x + torch.rand_like(x)).flatten(1), False, "its logits differ"),
        (refuse, False, ""),
    ],
    ids=["flatten", "dropout", "view", "noise", "refuses"],
)
def test_weights_lie_channels_last_where_the_net_answers_as_before(
    between, last, said, caplog
) -> None:
    caplog.set_level(logging.INFO)
    net, state = Net(between), torch.get_rng_state()
    net.head.requires_grad_(False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    layout = layout_of(net, INPUTS, "cpu")
    assert layout == (torch.channels_last if last else torch.contiguous_format)
    assert net.convolution.weight.is_contiguous(memory_format=layout)
    assert net.training and not net.head.weight.requires_grad
    assert net.convolution.weight.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in before.items():
        assert torch.equal(net.state_dict()[name], value)
    assert said in caplog.text and bool(said) == ("channels first" in caplog.text)


def shortcut(channels: int, stride: int = 2, *, kernel: int = 1) -> nn.Module:
    last = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(channels, 16, kernel, stride), last
    )


@pytest.mark.parametrize(
    ("net", "last"),
    [
        (shortcut(8), False),
        (shortcut(15), False),
        (shortcut(8, 3), False),
        (shortcut(16), True),
        (shortcut(8, 1), True),
        (shortcut(8, kernel=3), True),
        (nn.Sequential(shortcut(8), nn.Identity()), False),
    ],
)
def test_gradients_are_right_where_onednn_writes_past_them(net, last, caplog) -> None:
    """Of strided 1x1 convolutions of few channels, channels last: wrong, or the process ends."""
    caplog.set_level(logging.INFO)
    inputs = InputSpec(shape=(3, 56, 56), classes=5, mean=(0.5,) * 3, std=(0.5,) * 3)
    x, y = torch.rand(4, *inputs.shape), torch.arange(4)
    exact = copy.deepcopy(net).double()
    layout = layout_of(net, inputs, "cpu")
    assert layout == (torch.channels_last if last else torch.contiguous_format)
    assert last != ("oneDNN computes wrong gradients" in caplog.text)
    nn.functional.cross_entropy(net(x.contiguous(memory_format=layout)), y).backward()
    nn.functional.cross_entropy(exact(x.double()), y).backward()
    for found, known in zip(net.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(found.grad.double(), known.grad, rtol=1e-3, atol=1e-5)
