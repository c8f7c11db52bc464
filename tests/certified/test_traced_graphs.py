"""Nets as steps: what is known answers as the net does; what is not is named in one line."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fftune.certified.graph import graph_of
from fftune.errors import ConfigError
from tests.certified.small_nets import images, nets


def test_steps_answer_as_the_net_does() -> None:
    for net in nets(2):
        x = images(7, seed=3)
        graph = graph_of(net, x)
        torch.testing.assert_close(graph.logits(x), net(x))
        assert graph.classes == 3 and len(graph.rectified) >= 2


class Called(nn.Module):
    """A net of one function."""

    def __init__(self, function) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(32, 3))
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.inner, x)


def _in_place(inner, x: Tensor) -> Tensor:
    """The sum takes what the ReLU in place has left, not what it took."""
    z = inner(x)
    F.relu(z, inplace=True)
    return z + 1


def _by_value(inner, x: Tensor) -> Tensor:
    return inner(x) if float(x.sum()) > 0 else -inner(x)


CASES = {
    "max pooling": (lambda inner, x: inner(F.max_pool2d(x, 1)), "operation 'max_pool2d"),
    "a sigmoid": (lambda inner, x: torch.sigmoid(inner(x)), "operation 'sigmoid'"),
    "a product": (lambda inner, x: inner(x) * inner(x), "operation 'mul'"),
    "a branch by value": (_by_value, "is no fixed graph: "),
    "the batch's mean": (lambda inner, x: inner(x) - inner(x).mean(0, keepdim=True), "mean"),
    "the batch's number": (lambda inner, x: inner(x) / x.size(0), "answers other logits"),
    "more than logits": (lambda inner, x: (inner(x), x), "it returns more than a tensor"),
    "another type": (lambda inner, x: inner(x).double(), "operation 'double'"),
    "a larger shape": (lambda inner, x: inner(x) + torch.ones(2, 3), ""),
}


@pytest.mark.parametrize(("function", "words"), CASES.values(), ids=CASES)
def test_what_is_not_known_is_one_line(function, words) -> None:
    with pytest.raises(ConfigError, match="^net cannot be certified: ") as raised:
        graph_of(Called(function).eval(), images(1))
    assert words in str(raised.value) and "\n" not in str(raised.value)


def test_a_layer_is_named() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(32, 3), nn.Tanh())).eval()
    with pytest.raises(ConfigError, match=r"layer '1.1' \(Tanh\) is not among convolutions, "):
        graph_of(net, images(1))


def test_a_relu_in_place_is_felt_by_what_comes_after() -> None:
    x = images(5, seed=2)
    net = Called(_in_place).eval()
    torch.testing.assert_close(graph_of(net, x).logits(x), net(x))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda net: net.train(), "it is not in eval mode"),
        (lambda net: net.double(), "not fp32"),
    ],
)
def test_modes_and_types_that_have_no_bounds(change, words) -> None:
    net = next(nets(1))
    change(net)
    with pytest.raises(ConfigError, match=words):
        graph_of(net, images(1))
