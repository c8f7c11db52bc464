"""Nets for the digits that need no training, as a user's own file holds them."""

import torch
from torch import Tensor, nn

from fftune.config import DataSpec
from fftune.data import load


class Means(nn.Module):
    """Logits are distances to the classes' means: a linear score, right on four of five."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        train = load(DataSpec(), "train")
        x = train.pixels.flatten(1) / train.source.levels
        means = torch.stack([x[train.y == k].mean(0) for k in range(classes)])
        self.register_buffer("means", means)

    def forward(self, x: Tensor) -> Tensor:
        return 4 * (x.flatten(1) @ self.means.T - self.means.square().sum(1) / 2)


class Rounded(Means):
    """The same without gradients."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).detach()


def means() -> nn.Module:
    return Means(10)


def nine() -> nn.Module:
    return Means(9)


def rounded() -> nn.Module:
    return Rounded(10)
