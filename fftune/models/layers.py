"""Normalisation as the first layer, so that every threat model speaks of pixels in [0, 1]."""

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """(x - mean) / std, a channel at a time."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std
