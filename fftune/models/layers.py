"""Layers, first weights and the smallest image: what several architectures share."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from fftune.config import InputSpec
from fftune.errors import ConfigError


class Normalize(nn.Module):
    """(x - mean) / std, a channel at a time, as the first layer of a net.

    So every threat model speaks of pixels in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class Normalized(nn.Module):
    """A net that expects normalised images, with its normalisation before it: it takes [0, 1]."""

    def __init__(self, net: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std)
        self.net = net

    def forward(self, x: Tensor) -> Any:
        return self.net(self.normalize(x))


def he_convolutions(model: nn.Module, *, fan: Literal["fan_in", "fan_out"] = "fan_out") -> None:
    """Draw the weights of convolutions from a normal distribution of variance 2 / fan.

    A layer then keeps the size of what flows through it (He et al. 2015). Biases and all other
    layers stay as they are.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode=fan, nonlinearity="relu")


def he_linear(model: nn.Module) -> None:
    """Draw the weights of linear layers with variance 2 / inputs; their biases become 0."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)


def require_min_size(name: str, inputs: InputSpec, least: int) -> None:
    """Refuse images with a side below `least`, of which a net would leave nothing.

    Raises:
        ConfigError: a side is too small.
    """
    if min(inputs.shape[1:]) < least:
        raise ConfigError(
            f"model {name!r} needs images of at least {least} x {least}, got {inputs.shape}"
        )
