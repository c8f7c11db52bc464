"""Small nets and images on which a false friend's work is known."""

import torch
from torch import Tensor, nn

from fftune.data import Dataset, Source

SIDE = 16


class Linear(nn.Module):
    """Two classes; class 1 leads by w.x + b."""

    def __init__(self, weight: Tensor, bias: float = 0.0) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), bias

    def forward(self, x: Tensor) -> Tensor:
        lead = (x * self.weight).flatten(1).sum(1) + self.bias
        return torch.stack([torch.zeros_like(lead), lead], 1)


def small_net(seed: int = 0) -> nn.Module:
    """A convolution and a linear layer, as they are initialised."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
            nn.Linear(8 * SIDE * SIDE // 4, 4),
        ).eval()  # fmt: skip


def smooth_images(net: nn.Module, count: int, seed: int, wrong: float = 0.3) -> Dataset:
    """Images with most of their power in low frequencies, as photographs have it.

    The net is right about all but a share of them, whose label is its second choice.
    """
    draws = torch.Generator().manual_seed(seed)
    waves = torch.fft.fft2(torch.randn(count, 1, SIDE, SIDE, generator=draws))
    across = torch.fft.fftfreq(SIDE) * SIDE
    power = 1 / (1 + across[:, None] ** 2 + across**2)
    x = torch.fft.ifft2(waves * power).real
    x = 0.5 + 0.2 * x / x.flatten(1).std(1).view(-1, 1, 1, 1)
    x = x + 0.01 * torch.randn(x.shape, generator=draws)  # a camera's noise
    pixels = (x.clamp(0, 1) * 255).round().to(torch.uint8)
    with torch.no_grad():
        ranked = net(pixels.float() / 255).argsort(1, descending=True)
    flipped = torch.rand(count, generator=draws) < wrong
    y = torch.where(flipped, ranked[:, 1], ranked[:, 0])
    source = Source(name="smooth", classes=tuple("abcd"), mean=(0.5,), std=(0.5,))
    return Dataset(source=source, split="test", ids=torch.arange(count), pixels=pixels, y=y)
