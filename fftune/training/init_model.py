"""The net that a run begins with."""

import torch
from torch import nn

from fftune.config import InputSpec, TrainConfig
from fftune.errors import ModelError
from fftune.models import eval_mode, make_model
from fftune.models.fits import check_fit
from fftune.user_code import answering


def init_model(config: TrainConfig, inputs: InputSpec) -> nn.Module:
    """The net, initialised from the run's seed, and tried on one blank image.

    Raises:
        ConfigError: there is no such net, or it cannot take such images.
        ModelError: a net of the user's does not take them, or has other classes.
    """
    model = make_model(
        config.model, inputs, seed=config.seed, width=config.width, constants=config.constants
    )

    def blank(size: int) -> torch.Tensor:
        return torch.zeros(size, *inputs.shape)

    with answering(f"model {config.model!r}"), eval_mode(model):
        try:
            check_fit(model, blank, inputs.classes, data=config.data.name)
        except ModelError as error:
            raise ModelError(f"model {config.model!r}: {error}") from error
    return model
