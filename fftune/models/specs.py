"""Descriptions of nets, by name or from a checkpoint folder; none of it needs torch."""

from dataclasses import replace
from pathlib import Path
from shlex import quote

from fftune.config import DataSpec, ModelSpec, read_settings, require
from fftune.config.data import of_another
from fftune.errors import ConfigError, ModelError
from fftune.registry import MODELS, is_of_file, nearest

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


def with_named_code(spec: ModelSpec, checkpoint: Path, model: str = "") -> ModelSpec:
    """The net of a checkpoint, which runs a file of the user's only if the user names it too.

    The description of a checkpoint from elsewhere could name any function of any file.

    Args:
        model: `FILE.py:NAME` by which the user says what to run; it may lie elsewhere than the
            description says.

    Raises:
        ModelError: the description names a file, and the user none.
        ConfigError: the user names one for a net that needs none.
    """
    if ".py:" not in spec.factory:
        require("model", not model, "left out for a net of a CHECKPOINT, which says it", model)
        return spec
    if ".py:" not in model:
        raise ModelError(_refusal(checkpoint, spec.factory, "model"))
    return replace(spec, factory=model)


def with_named_data(data: DataSpec, checkpoint: Path, name: str | None = None) -> DataSpec:
    """The data of a checkpoint, or others; a file that makes them runs only if the user names it.

    Raises:
        ModelError: the checkpoint's settings name a file, and the user nothing.
    """
    if name is None and is_of_file(data.name):
        raise ModelError(_refusal(checkpoint, data.name, "data"))
    return of_another(data, name)


def _refusal(checkpoint: Path, code: str, flag: str) -> str:
    return (
        f"checkpoint {str(checkpoint)!r} would run {code!r}, which nobody but it has named; if you "
        f"trust that file, add --{flag} {quote(code)}"
    )


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
