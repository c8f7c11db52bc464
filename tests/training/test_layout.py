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
