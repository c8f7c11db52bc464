"""The net that a run begins with."""

import logging
import math
from pathlib import Path

import torch
from torch import nn

from fftune.config import Conditioning, InputSpec, TrainConfig
from fftune.errors import ModelError
from fftune.models import eval_mode, make_model
from fftune.models.conditional import ConditionalNet
from fftune.models.fits import check_fit
from fftune.models.specs import read_spec
from fftune.models.variants import checkpoint_at
from fftune.models.weights import read_weights
from fftune.objectives import find_objective
from fftune.user_code import answering

log = logging.getLogger(__name__)


def init_model(config: TrainConfig, inputs: InputSpec) -> nn.Module:
    """The net, initialised from the run's seed or a file of weights, and tried on one image.

    Raises:
        ConfigError: there is no such net, or it cannot take such images.
        ModelError: a net of the user's does not take them, or tells other classes apart; or the
            weights are missing, damaged, or of another net.
    """
    model = make_model(
        config.model, inputs, seed=config.seed, width=config.width, constants=config.constants
    )
    if find_objective(config.objective).all_lambdas:
        model = ConditionalNet(model, conditioning_of(config))
    if config.init_model:
        read = read_weights(model, _weights_of(Path(config.init_model)))
        log.info("training begins with %s", read.told)

    def ramps(count: int) -> torch.Tensor:  # a net may divide by an image's own spread
        return (
            torch.linspace(0, 1, math.prod(inputs.shape)).view(inputs.shape).repeat(count, 1, 1, 1)
        )

    name = f"model {config.model!r}"
    with answering(name), eval_mode(model):
        check_fit(model, ramps, inputs.classes, name=name)
    return model


def conditioning_of(config: TrainConfig) -> Conditioning:
    """Dependence on lambda of the net of a training for all."""
    return Conditioning(top=config.lam, norms=config.draws.norms)


def _weights_of(place: Path) -> str:
    """The file of weights: `place` itself, or that of a checkpoint or a run there.

    Raises:
        ModelError: there is none.
    """
    if (found := checkpoint_at(str(place))) is not None:
        return read_spec(found).weights
    if not place.is_dir():
        return str(place)
    if (place / "checkpoint/model.json").is_file():
        return read_spec(place / "checkpoint").weights
    raise ModelError(f"init_model must be a checkpoint or a file of weights, got {str(place)!r}")
