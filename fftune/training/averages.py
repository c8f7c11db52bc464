"""Other weights than the last: a moving average of them, kept while a net is trained.

Izmailov et al. 2018 average for accuracy, Gowal et al. 2020 for adversarial robustness. Papers on
hypocritical risk take the last net, so an average is not a net as published.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fftune.errors import ModelError


class WeightAverage:
    """Exponential moving average of parameters and buffers, BatchNorm's statistics among them.

    After step t, counted from 0, it is d a + (1 - d) w, with d = min(decay, (1 + t) / (10 + t)):
    short runs would else average what the net was initialised with. Integers are copied. The net
    is only read, and nothing is drawn at random.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """
        Args:
            model: on its device; the average begins with its weights.
            decay: in (0, 1).
        """
        self.decay, self.steps = decay, 0
        self.tensors = copied(model)

    def update(self, model: nn.Module) -> None:
        """Count the net as it is after one more step."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            self._blend(model, 1 - decay)
        self.steps += 1

    def _blend(self, model: nn.Module, share: float) -> None:
        """Move the average by a share of its distance to the net."""
        averages: list[Tensor] = []
        values: list[Tensor] = []
        for name, value in _tensors(model):
            if value.is_floating_point():
                averages.append(self.tensors[name])
                values.append(value)
            else:
                self.tensors[name].copy_(value)
        if averages:
            torch._foreach_lerp_(averages, values, share)

    def state_dict(self) -> dict[str, Any]:
        """All that `load_state_dict` needs to go on as if nothing had happened."""
        return {"steps": self.steps, "tensors": self.tensors}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state of an average of the same net.

        Raises:
            ModelError: it is of another net.
        """
        tensors = state["tensors"]
        shapes = [{n: (t.shape, t.dtype) for n, t in kept.items()}
                  for kept in (tensors, self.tensors)]  # fmt: skip
        if shapes[0] != shapes[1]:
            raise ModelError("the saved average is of another net")
        self.steps = state["steps"]
        for name, value in tensors.items():
            self.tensors[name].copy_(value)


def copied(model: nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters and buffers by name."""
    return {name: value.detach().clone() for name, value in _tensors(model)}


@contextmanager
def holding(model: nn.Module, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Give a net other weights, at the addresses of its own, which it has again after the block."""
    own = copied(model)
    try:
        _fill(model, tensors)
        yield
    finally:
        _fill(model, own)


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers by name, each once."""
    yield from model.named_parameters()
    yield from model.named_buffers()


@torch.no_grad()
def _fill(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    for name, value in _tensors(model):
        value.copy_(tensors[name])
