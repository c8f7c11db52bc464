"""Nets named on the command line, as in `--model resnet50 --weights FILE`, built for their data."""

from collections.abc import Callable
from dataclasses import replace

from torch import nn

from fftune.config import DataSpec, ModelSpec, Split
from fftune.data.catalog import place_framed
from fftune.data.dataset import Dataset
from fftune.errors import ConfigError
from fftune.models import factory_of, load_model
from fftune.models.loading import InputsNeededError
from fftune.registry import MODELS, nearest


def named_spec(model: str, weights: str = "") -> ModelSpec:
    """Describe a net by the name of its architecture, not yet built for any images.

    Args:
        model: a name of `registry.MODELS`, or `path/to/FILE.py:FUNCTION`.
        weights: file of its state_dict; empty: as the net is initialised, or as the function
            loads them.

    Raises:
        ConfigError: there is no net of that name; the nearest is named.
    """
    if ".py:" not in model and model not in MODELS:
        raise ConfigError(
            f"unknown model {model!r}; {nearest(model, MODELS)} (or path/to/FILE.py:FUNCTION)"
        )
    return ModelSpec(factory=factory_of(model), weights=weights)


def model_spec(model: str, weights: str, data: DataSpec, split: Split = "test") -> ModelSpec:
    """Describe a net of this package, built for the data's images, or a net of the user's.

    Args:
        model: see `named_spec`.
        data: of which one image is decoded for a net of this package.

    Raises:
        ConfigError: there is no net of that name.
        DataError: the data are missing.
    """
    spec = named_spec(model, weights)
    return spec if ".py:" in model else replace(spec, inputs=place_framed(data, split).inputs)


def load_for(spec: ModelSpec, dataset: Callable[[], Dataset]) -> tuple[nn.Module, ModelSpec]:
    """Load a net in eval mode, building it for the data's images if it needs to know them.

    Args:
        dataset: opens the data; not called for a net that is built without.

    Returns:
        The net, and its spec with all that it was built from.

    Raises:
        ModelError: the net cannot be built, or its weights do not fit.
    """
    try:
        return load_model(spec), spec
    except InputsNeededError:
        spec = replace(spec, inputs=dataset().inputs)
        return load_model(spec), spec
