"""The net that a run begins with."""

import torch
from torch import nn

from fftune.config import InputSpec, TrainConfig
from fftune.errors import ModelError
from fftune.models import eval_mode, make_model
from fftune.user_code import answering


def init_model(config: TrainConfig, inputs: InputSpec) -> nn.Module:
    """The net, initialised from the run's seed, and tried on one blank image.

    Raises:
        ConfigError: there is no such net, or it cannot take such images.
        ModelError: a net of the user's does not take them, or tells other classes apart.
    """
    model = make_model(
        config.model, inputs, seed=config.seed, width=config.width, constants=config.constants
    )
    blank = torch.zeros(1, *inputs.shape)
    try:
        with answering(f"model {config.model!r}"), eval_mode(model), torch.no_grad():
            shape = tuple(model(blank).shape)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"model {config.model!r} does not take {inputs.shape}: {reason}") from None
    if shape != (1, inputs.classes):
        raise ModelError(
            f"model {config.model!r} returned {shape} for one image, expected (1, {inputs.classes})"
        )
    return model
