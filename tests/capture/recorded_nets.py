"""Nets for recordings, and functions of them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fftune.capture import captured


def small_net(seed: int = 0, *, dropout: float = 0.0) -> nn.Module:
    """Convolution, batch norm, dropout and a head for (B, 2, 4, 4); 3 classes."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(16, 3),
    )


def batch(size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(size, 2, 4, 4, generator=rng), torch.randint(3, (size,), generator=rng)


@captured
def logits(net: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        out: Tensor = net(x)
        return out


@captured
def scaled(x: Tensor, factor: object) -> Tensor:
    return x * factor  # type: ignore[operator]


@captured
def ascent(net: nn.Module, x: Tensor, y: Tensor, *, steps: int) -> Tensor:
    """Signed gradient steps, as an attack takes them."""
    for _ in range(steps):
        leaf = x.detach().requires_grad_(True)
        (grad,) = torch.autograd.grad(F.cross_entropy(net(leaf), y), leaf)
        x = (x + 0.01 * grad.sign()).clamp(0, 1)
    return x


@captured
def train_step(
    net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, *, to_none: bool = True
) -> Tensor:
    optimizer.zero_grad(set_to_none=to_none)
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    optimizer.step()
    return loss.detach()


@captured
def accumulate(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    return loss.detach()


@captured
def update(optimizer: torch.optim.Optimizer) -> None:
    optimizer.step()


def state(net: nn.Module) -> Tensor:
    """All weights and buffers in one row."""
    return torch.cat([value.detach().flatten().double() for value in net.state_dict().values()])
