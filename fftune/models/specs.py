"""Descriptions of nets, by name or from a checkpoint folder; none of it needs torch."""

from dataclasses import replace
from pathlib import Path

from fftune.config import ModelSpec, read_settings
from fftune.errors import ConfigError, ModelError
from fftune.registry import MODELS, nearest

OURS = "fftune:"
"""Prefix of a factory that is a name of the table, as in `fftune:resnet18`."""
ROBUSTBENCH = "robustbench:"
"""Prefix of a factory that is a published net, as in `robustbench:cifar10/Linf/Standard`."""


def read_spec(folder: Path) -> ModelSpec:
    """The net of a checkpoint folder, wherever the folder is now.

    Raises:
        ModelError: there is no complete checkpoint, or its description is damaged.
    """
    path = folder / "model.json"
    if not path.exists():
        raise ModelError(f"no complete checkpoint in {str(folder)!r}")
    spec = read_settings(ModelSpec, path, "net", ModelError)
    return replace(spec, weights=str(folder / "weights.pt"))


def factory_of(name: str) -> str:
    """The factory of a `ModelSpec` for the net that `make_model` knows as `name`."""
    return name if ".py:" in name else OURS + name


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
