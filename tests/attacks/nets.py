"""Nets so small that a whole search over them is written down point by point."""

import torch
from torch import Tensor, nn


def smooth(classes: int, shape: tuple[int, int, int], seed: int) -> nn.Module:
    """A convolution, tanh and a linear layer in float64, so that rounding decides nothing.

    At the middle of the box no class leads, so that every class is near everywhere.
    """
    channels, height, width = shape
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        last = nn.Linear(3 * height * width, classes)
        layers = [nn.Conv2d(channels, 3, 3, padding=1), nn.Tanh(), nn.Flatten(), last]
    net = nn.Sequential(*layers).double()
    with torch.no_grad():
        last.weight *= 3
        last.bias -= net(torch.full((1, *shape), 0.5, dtype=torch.float64))[0]
    return net


def images(count: int, shape: tuple[int, int, int], seed: int) -> Tensor:
    """(count, *shape) float64 in [0, 1], a fifth of the pixels at a wall."""
    rng = torch.Generator().manual_seed(seed)
    return (1.4 * torch.rand(count, *shape, generator=rng, dtype=torch.float64) - 0.2).clamp(0, 1)


class Recorded(nn.Module):
    """A net that keeps every batch it was asked about, and whether a gradient was wanted."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.asked: list[Tensor] = []
        self.wanted: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(x.detach().clone())
        self.wanted.append(x.requires_grad)
        logits: Tensor = self.model(x)
        return logits


class Scripted(nn.Module):
    """A net of two classes whose lead of class 1, and the lead's gradient, are told beforehand.

    Its n-th answer is the n-th of the script, wherever it is asked.
    """

    def __init__(self, leads: Tensor, gradients: Tensor) -> None:
        """Take (N, B) leads and (N, B, C, H, W) gradients."""
        super().__init__()
        self.leads, self.gradients = leads, gradients
        self.asked: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        n = len(self.asked)
        self.asked.append(x.detach().clone())
        way = (self.gradients[n] * x).flatten(1).sum(1)
        lead = self.leads[n] + (way - way.detach())
        return torch.stack([torch.zeros_like(lead), lead], 1)
