"""The record of an architecture: how its net is built for given images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fftune.config import Constants, InputSpec

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """An architecture of the table MODELS, or of a user's file."""

    build: "Callable[..., nn.Module]"
    """`build(inputs, *, width)`: the net with fresh weights. It takes images in [0, 1] of
    `inputs.shape` and returns logits (B, `inputs.classes`). `width` is the number of channels of
    its first stage, or of hidden units; None builds the published net."""
    two_readings: bool = False
    """The paper and its authors' code build or initialise it differently: `build` takes
    `constants`, "paper" or "code", too."""

    def __call__(
        self, inputs: InputSpec, *, width: int | None = None, constants: Constants = "paper"
    ) -> "nn.Module":
        """The net with fresh weights."""
        if self.two_readings:
            return self.build(inputs, width=width, constants=constants)
        return self.build(inputs, width=width)
