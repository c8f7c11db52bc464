"""First weights after He et al. (2015): a layer keeps the size of what flows through it."""

from typing import Literal

from torch import nn


def he_convolutions(model: nn.Module, *, fan: Literal["fan_in", "fan_out"] = "fan_out") -> None:
    """Normal weights of variance 2 / fan for convolutions; everything else stays as it is."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode=fan, nonlinearity="relu")


def he_linear(model: nn.Module) -> None:
    """Normal weights of variance 2 / inputs and biases of 0 for linear layers."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)
