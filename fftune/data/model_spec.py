"""Nets named on the command line, as in `--model resnet50 --weights FILE`, built for their data."""

from collections.abc import Callable
from dataclasses import replace

from torch import nn

from fftune.config import DataSpec, ModelSpec, Split
from fftune.data.catalog import place_framed
from fftune.data.dataset import Dataset
from fftune.models import load_model
from fftune.models.loading import InputsNeededError
from fftune.models.specs import named_spec


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
