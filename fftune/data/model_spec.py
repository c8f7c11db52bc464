"""Specs of nets named on the command line, as in `--model resnet50 --weights FILE`."""

from fftune.config import DataSpec, ModelSpec, Split
from fftune.data.catalog import place_framed
from fftune.errors import ConfigError
from fftune.models import factory_of
from fftune.registry import MODELS, nearest


def model_spec(model: str, weights: str, data: DataSpec, split: Split = "test") -> ModelSpec:
    """Describe a net of this package, built for the data's images, or a net of the user's.

    A net of this package needs to know its images, of which one is decoded.

    Args:
        model: a name of `registry.MODELS`, or `path/to/FILE.py:FUNCTION`.
        weights: file of its state_dict; empty: as the net is initialised, or as the function
            loads them.

    Raises:
        ConfigError: there is no net of that name; the nearest is named.
        DataError: the data are missing.
    """
    if ".py:" in model:
        return ModelSpec(factory=model, weights=weights)
    if model not in MODELS:
        raise ConfigError(
            f"unknown model {model!r}; {nearest(model, MODELS)} (or path/to/FILE.py:FUNCTION)"
        )
    inputs = place_framed(data, split).inputs
    return ModelSpec(factory=factory_of(model), inputs=inputs, weights=weights)
