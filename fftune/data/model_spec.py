"""Specs of nets named on the command line, as in `--model resnet50 --weights FILE`."""

from fftune.config import DataSpec, ModelSpec, Split
from fftune.data.catalog import place_framed
from fftune.models import factory_of
from fftune.registry import MODELS


def model_spec(model: str, weights: str, data: DataSpec, split: Split = "test") -> ModelSpec:
    """The net that `--model` names: one of ours, built for the data's images, or a user's own.

    Without weights ours is as initialised. One image is decoded.

    Raises:
        DataError: the data are missing.
    """
    if model not in MODELS:
        return ModelSpec(factory=model, weights=weights)
    inputs = place_framed(data, split).inputs
    return ModelSpec(factory=factory_of(model), inputs=inputs, weights=weights)
