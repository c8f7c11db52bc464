"""Copies of a net side by side against the nets themselves."""

import copy
import re

import pytest
import torch
from torch import Tensor, nn

from fftune.config import InputSpec
from fftune.errors import ConfigError
from fftune.models import eval_mode, fold, make_model
from fftune.models.side_by_side import SideBySide, side_by_side

DIGITS = InputSpec(shape=(1, 8, 8), classes=10, mean=(0.3,), std=(0.4,))
COLOR = InputSpec(shape=(3, 32, 32), classes=4, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
NETS = [("small_cnn", DIGITS, 4), ("mlp", DIGITS, 16)]
NETS += [(name, COLOR, 8) for name in ("small_resnet", "resnet18", "vgg16", "wrn28_10")]


def three(name: str, inputs: InputSpec, width: int) -> tuple[list[nn.Module], SideBySide]:
    """Three nets of other seeds, and the same side by side."""
    nets = [make_model(name, inputs, seed=seed, width=width) for seed in range(3)]
    fused = side_by_side(nets[0], 3, inputs, name=name)
    states = [net.state_dict() for net in nets]
    fused.net.load_state_dict(
        {
            key: torch.cat([state[key] for state in states]) if value.dim() else value
            for key, value in states[0].items()
        }
    )
    return nets, fused


@pytest.mark.some(2)
@pytest.mark.parametrize(("name", "inputs", "width"), NETS)
def test_rows_take_turns_among_the_nets(name, inputs, width) -> None:
    """Logits and statistics of a batch in train mode, gradients, logits in eval mode, weights."""
    nets, fused = three(name, inputs, width)
    fused.double()
    x = torch.rand(12, *inputs.shape, dtype=torch.double, requires_grad=True)
    weights = torch.arange(inputs.classes).double().cos()
    logits = fused(x)
    (logits * weights).sum().backward()
    ours = {key: value.grad.chunk(3) for key, value in fused.net.named_parameters()}
    for index, net in enumerate(nets):
        part = x.detach()[index::3].requires_grad_(True)
        alone = net.double()(part)
        torch.testing.assert_close(logits[index::3], alone)
        (alone * weights).sum().backward()
        torch.testing.assert_close(x.grad[index::3], part.grad)
        for key, value in net.named_parameters():
            torch.testing.assert_close(ours[key][index], value.grad)
        state = net.state_dict()
        assert fused.state_of(index).keys() == state.keys()
        for key, value in fused.state_of(index).items():
            torch.testing.assert_close(value, state[key])
        with eval_mode(net), eval_mode(fused), torch.no_grad():
            torch.testing.assert_close(fused(x)[index::3], net(part))


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 8])
def test_a_row_more_or_less_leaves_the_others_as_they_are(rows: int) -> None:
    """Searches fill batches up, and copies are tried on one image."""
    _, fused = three("small_cnn", DIGITS, 4)
    x = torch.rand(9, 1, 8, 8)
    with eval_mode(fused), torch.no_grad():
        whole, part = fused(x), fused(x[:rows])
    assert part.shape == (rows, 10)
    torch.testing.assert_close(part, whole[:rows])


def test_batchnorm_of_all_is_folded_at_once() -> None:
    nets, fused = three("small_resnet", COLOR, 8)
    x = torch.rand(6, *COLOR.shape)
    with eval_mode(fused):
        folded = fold(fused, x)
        assert folded is not None and len(folded.norms) == 9
        for index, net in enumerate(nets):
            with eval_mode(net):
                alone = net(x[index::3])
            torch.testing.assert_close(folded.net(x)[index::3], alone, rtol=1e-4, atol=1e-5)


def test_what_is_not_a_number_stays_with_its_net() -> None:
    """In forward and backward, with both layouts: no sum goes over two nets."""
    for layout in (torch.contiguous_format, torch.channels_last):
        _, fused = three("small_cnn", DIGITS, 4)
        fused.to(memory_format=layout)
        ill = copy.deepcopy(fused)
        with torch.no_grad():
            for weight in ill.net.parameters():
                weight.chunk(3)[1].fill_(float("nan"))
        x = torch.rand(12, 1, 8, 8)
        for one in (fused, ill):
            one(x).square().sum().backward()
        for key, weight in fused.net.named_parameters():
            grads = [one.get_parameter(f"net.{key}").grad.chunk(3) for one in (fused, ill)]
            assert weight.grad.abs().max() > 0
            assert torch.equal(grads[0][0], grads[1][0]) and torch.equal(grads[0][2], grads[1][2])
            assert grads[1][1].isnan().all()


class MeanOfChannels(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        out = self[0](x)
        return self[1]((out - out.mean(1, keepdim=True)).flatten(1))


class MeanOfWeights(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return self[1]((self[0](x) + self[0].bias.mean()).flatten(1))


class Joined(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        out = self[0](x)
        return self[1](torch.cat([out, -out], 1).flatten(1))


class DropsInTraining(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return self[1](nn.functional.dropout(self[0](x), 0.5, self.training).flatten(1))


class Shift(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.by


def shared() -> nn.Module:
    one = nn.Conv2d(1, 1, 3, padding=1)
    return nn.Sequential(one, nn.ReLU(), one, nn.Flatten(), nn.Linear(64, 10))


def convolution() -> nn.Module:
    return nn.Conv2d(1, 2, 3, padding=1)


REFUSED = [
    (MeanOfChannels(convolution(), nn.Linear(128, 10)), "they answer otherwise in eval mode"),
    (MeanOfWeights(convolution(), nn.Linear(128, 10)), "they answer otherwise in eval mode"),
    (Joined(convolution(), nn.Linear(256, 10)), "they answer otherwise in eval mode"),
    (DropsInTraining(convolution(), nn.Linear(128, 10)), "they answer otherwise in train mode"),
    (nn.Sequential(Shift(), nn.Flatten(), nn.Linear(64, 10)), "it has weights in a Shift"),
    (nn.Sequential(nn.Dropout(), nn.Flatten(), nn.Linear(64, 10)), "other numbers for its dropout"),
    (shared(), "it shares weights between layers"),
]


@pytest.mark.parametrize(("net", "reason"), REFUSED)
def test_a_net_whose_copies_would_mix_is_refused(net: nn.Module, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"fuse must be 1 for model 'a'.*{re.escape(reason)}"):
        side_by_side(net, 2, DIGITS, name="model 'a'")


def test_the_net_itself_is_left_as_it_is() -> None:
    net = make_model("small_cnn", DIGITS, seed=0, width=4)
    before = copy.deepcopy(net.state_dict())
    side_by_side(net, 2, DIGITS, name="small_cnn")
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert net.training
