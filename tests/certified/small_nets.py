"""Small nets of every operation that bounds are carried through, and points of their balls."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fftune.config import ThreatModel
from fftune.threat import project


class Residual(nn.Module):
    """Normalisation, convolutions with BatchNorm, two kinds of shortcut, pooling, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4, 0.5]).view(1, 2, 1, 1))
        self.first, self.norm = nn.Conv2d(2, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4)
        self.second, self.third = nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(4, 6, 3, 2, 1)
        self.short = nn.Conv2d(4, 6, 1, 2)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first((x - self.mean) / 0.25)))
        x = F.relu(self.second(x) + F.pad(x[:, 1:], (0, 0, 0, 0, 0, 1)))
        x = F.relu(self.third(x) - self.short(x) * 2)
        return self.head(F.avg_pool2d(x, x.size(-1)).view(x.size(0), -1))


def plain() -> nn.Module:
    """Convolution, pooling by average, two linear layers with a ReLU in place."""
    return nn.Sequential(
        nn.Conv2d(2, 5, 2, 2, padding=1),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.AvgPool2d(2, 1),
        nn.Flatten(),
        nn.Linear(20, 12),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(12, 3),
    )


def nets(count: int) -> Iterator[nn.Module]:
    """Fresh nets of (2, 4, 4) images and three classes, in eval mode, with weights of size."""
    for seed in range(count):
        torch.manual_seed(seed)
        net = Residual() if seed % 2 else plain()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
                module.weight.data.normal_()
                module.bias.data.normal_(0, 0.3)
        for parameter in net.parameters():
            parameter.data *= 1.5
            parameter.requires_grad_(False)
        last = [module for module in net.eval().modules() if isinstance(module, nn.Linear)][-1]
        last.bias -= net(images(200, seed=9)).mean(0)  # else one class has it all
        yield net


def images(count: int, seed: int = 0) -> Tensor:
    """(count, 2, 4, 4) in [0, 1], some pixels at its ends."""
    rng = torch.Generator().manual_seed(seed)
    return (1.2 * torch.rand(count, 2, 4, 4, generator=rng) - 0.1).clamp(0, 1)


def points(net: nn.Module, x: Tensor, threat: ThreatModel, seed: int = 0) -> Iterator[Tensor]:
    """Points of the balls around x: corners and random ones, and ends of steps on the margins."""
    rng = torch.Generator().manual_seed(seed)
    for _ in range(16):
        yield project(x + threat.eps * (2 * torch.rand(x.shape, generator=rng) - 1), x, threat)
        yield project(x + 2 * threat.eps * torch.randn(x.shape, generator=rng).sign(), x, threat)
    classes = net(x[:1]).shape[1]
    for one in range(classes):
        for other in range(classes):
            yield from _descent(net, x, threat, one, other) if one != other else ()


def _descent(
    net: nn.Module, x: Tensor, threat: ThreatModel, one: int, other: int
) -> Iterator[Tensor]:
    """Points on the way to the least z_one - z_other."""
    at = x
    for _ in range(6):
        leaf = at.clone().requires_grad_()
        logits = net(leaf)
        (grad,) = torch.autograd.grad((logits[:, one] - logits[:, other]).sum(), leaf)
        at = project(at - threat.eps / 3 * grad.sign(), x, threat)
        yield at
