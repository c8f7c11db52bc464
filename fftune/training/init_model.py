"""The net that a run begins with."""

import math

import torch
from torch import nn

from fftune.config import InputSpec, TrainConfig
from fftune.models import eval_mode, make_model
from fftune.models.fits import check_fit
from fftune.user_code import answering


def init_model(config: TrainConfig, inputs: InputSpec) -> nn.Module:
    """The net, initialised from the run's seed, and tried on one image.

    Raises:
        ConfigError: there is no such net, or it cannot take such images.
        ModelError: a net of the user's does not take them, or tells other classes apart.
    """
    model = make_model(
        config.model, inputs, seed=config.seed, width=config.width, constants=config.constants
    )

    def ramps(count: int) -> torch.Tensor:  # a net may divide by an image's own spread
        return (
            torch.linspace(0, 1, math.prod(inputs.shape)).view(inputs.shape).repeat(count, 1, 1, 1)
        )

    name = f"model {config.model!r}"
    with answering(name), eval_mode(model):
        check_fit(model, ramps, inputs.classes, name=name)
    return model
