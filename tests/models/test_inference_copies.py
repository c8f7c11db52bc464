"""The copy that searches ask: the fastest that answers as the net does, never another function."""

import logging
import threading

import pytest
import torch
from torch import Tensor, nn

from fftune.models import adapted, inference_copy
from fftune.models.inference_copies import Converted

X = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.fc = nn.Linear(144, 5)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(self.conv(x)).relu().flatten(1))


class Viewed(Net):
    def forward(self, x: Tensor) -> Tensor:
        z = self.norm(self.conv(x)).relu()
        return self.fc(z.view(x.size(0), 144))


class Silenced(Net):
    """Tracing forgets `no_grad`: a folded copy would have gradients that the net has not."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            z = self.norm(self.conv(x)).relu()
        return self.fc(z.flatten(1)) + x.mean() * torch.arange(5)


class SmallBatchesApart(Net):
    """Tracing keeps the way of the batch it saw."""

    def forward(self, x: Tensor) -> Tensor:
        z = super().forward(x)
        return z if x.shape[0] > 1 else -z


class Counts(Net):
    """Never the same twice."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x) + self.calls * torch.arange(5)


class WronglyCopied(Net):
    def __deepcopy__(self, memo: object) -> "WronglyCopied":
        return WronglyCopied()


def slopes(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    leaf = x.clone().requires_grad_(True)
    logits = net(leaf)
    (grad,) = torch.autograd.grad(logits.log_softmax(1)[:, 0].sum(), leaf)
    return logits.detach(), grad


def norms_in(net: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())


@pytest.mark.parametrize(
    ("kind", "norms", "last", "said"),
    [
        (Net, 0, True, ""),
        (Viewed, 0, False, "BatchNorm folded, contiguous, fp32: it fails: view size"),
        (Silenced, 1, True, "nothing folded, channels last, fp32: its gradients differ"),
        (SmallBatchesApart, 1, True, "nothing folded, channels last, fp32: symbolically traced"),
    ],
)
def test_the_fastest_copy_that_is_the_same_function(kind, norms, last, said, caplog) -> None:
    caplog.set_level(logging.INFO)
    torch.manual_seed(0)
    net = kind().eval()
    copied = inference_copy(net, "fp32", X)
    assert isinstance(copied, Converted) and norms_in(copied) == norms
    assert (copied.format == torch.channels_last) == last
    assert said in caplog.text and bool(said) == bool(caplog.text)
    for size in (1, 2, 3, 4):
        for found, known in zip(slopes(copied, X[:size]), slopes(net, X[:size]), strict=True):
            torch.testing.assert_close(found, known, rtol=1e-4, atol=1e-5)
    caplog.clear()
    inference_copy(net, "fp32", X)
    assert not caplog.text  # once is enough


def test_a_net_that_answers_by_chance_has_a_plain_copy(caplog) -> None:
    caplog.set_level(logging.INFO)
    net = Counts().eval()
    copied = inference_copy(net, "fp32", X)
    assert type(copied) is Counts and copied is not net
    assert not any(parameter.requires_grad for parameter in copied.parameters())
    assert "does not answer alike twice" in caplog.text


@pytest.mark.parametrize("why", ["lock", "wrong copy"])
def test_a_net_that_cannot_be_copied_is_asked_itself_and_left_as_it_was(why, caplog) -> None:
    caplog.set_level(logging.INFO)
    net = (Net() if why == "lock" else WronglyCopied()).eval()
    net.lock = threading.Lock() if why == "lock" else None
    net.fc.weight.requires_grad = False
    strides = [p.stride() for p in net.parameters()]
    assert inference_copy(net, "fp32", X) is net
    assert "the net itself" in caplog.text
    assert [p.stride() for p in net.parameters()] == strides
    assert [p.requires_grad for p in net.parameters()] == [
        p is not net.fc.weight for p in net.parameters()
    ]


def test_half_the_digits_are_a_copy_and_a_lost_gradient_is_none() -> None:
    torch.manual_seed(0)
    assert inference_copy(Net().eval(), "bf16", X).dtype is torch.bfloat16
    assert inference_copy(Viewed().eval(), "bf16", X).dtype is torch.bfloat16

    class Coarse(Net):
        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x)
            return logits if x.dtype == torch.float32 else logits.detach() + 0 * logits

    assert inference_copy(Coarse().eval(), "bf16", X).dtype is None


def test_an_ordinary_net_is_asked_as_it_is() -> None:
    net = Net().eval()
    assert adapted(net, X) is net
