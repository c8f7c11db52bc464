"""The one way to a net: by a name of the table, from a user's file, from a checkpoint."""

from pathlib import Path

import torch
from torch import nn

from fftune.config import Constants, InputSpec, ModelSpec, require
from fftune.errors import ConfigError, ModelError
from fftune.models.entry import ModelEntry
from fftune.models.published_nets import published_net
from fftune.models.specs import OURS, ROBUSTBENCH, read_spec, with_named_code
from fftune.models.weights import read_weights, weights_hash
from fftune.registry import MODELS
from fftune.user_code import UserCodeError, answering, called, defined


class InputsNeededError(ModelError):
    """A net is built for its images, and nobody has said what they are."""

    def __init__(self, factory: str) -> None:
        super().__init__(f"model {factory!r} needs inputs: shape, classes, mean, std")


def make_model(
    name: str,
    inputs: InputSpec,
    *,
    seed: int = 0,
    width: int | None = None,
    constants: Constants = "paper",
) -> nn.Module:
    """A freshly initialised net in train mode; the same seed gives the same weights.

    Args:
        name: a name of the table MODELS, or `FILE.py:NAME` (`user_model`).
        width: channels of the first stage or hidden units; None builds the published net. A
            user's function has no other width.

    Raises:
        ConfigError: there is no net of that name, or it cannot take such images or width.
        ModelError: the user's function gives no net.
    """
    require("width", width is None or width >= 1, ">= 1", width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if ".py:" in name:
            with answering(f"model {name!r}"):
                return user_model(name, inputs, width=width, constants=constants).train()
        MODELS.check("model", name)
        entry: ModelEntry = MODELS[name]
        return entry(inputs, width=width, constants=constants)


def load_model(spec: ModelSpec) -> nn.Module:
    """The net of a spec, in eval mode.

    Raises:
        InputsNeededError: the net is built for its images, and the spec does not describe them.
        ModelError: the net cannot be built, or the weights are missing, damaged, of another
            net, or not those of the hash.
    """
    if spec.factory.startswith(OURS):
        if spec.inputs is None:
            raise InputsNeededError(spec.factory)
        name = spec.factory.removeprefix(OURS)
        model = make_model(name, spec.inputs, width=spec.width, constants=spec.constants)
    elif spec.factory.startswith(ROBUSTBENCH):
        model = published_net(spec.factory)
    else:
        model = user_model(spec.factory, spec.inputs, width=spec.width, constants=spec.constants)
    with answering(f"model {spec.factory!r}"):
        if spec.weights:
            read_weights(model, spec.weights)
        if spec.hash and (found := weights_hash(model)) != spec.hash:
            raise ModelError(f"weights {spec.weights!r} have hash {found}, expected {spec.hash}")
        return model.eval()


def user_model(
    factory: str,
    inputs: InputSpec | None = None,
    *,
    width: int | None = None,
    constants: Constants = "paper",
) -> nn.Module:
    """The net of `path/to/file.py:NAME`, a function that is called without arguments.

    `path/to/file.py:NAME:TEXT` calls it with that text. The file is run, as importing it would;
    its neighbours can be imported, as from a script. NAME may also be a `ModelEntry`, which is
    built for `inputs`, as the nets of this package are.

    Raises:
        ConfigError: another width is asked for than the function's own.
        ModelError: there is no such file or function, it fails, or returns something else.
    """
    file = source_of(factory)
    name, *argument = factory.rpartition(".py:")[2].split(":", 1)
    if file is None:
        raise ModelError(MODELS.refusal(factory))
    try:
        found = defined(file, name, "function")
        if isinstance(found, ModelEntry):
            if inputs is None:
                raise InputsNeededError(factory)
            model = called(file, lambda: found(inputs, width=width, constants=constants))
        elif width is not None:
            own = f"width must be left out for a net of one's own, got {width!r} ({factory})"
            raise ConfigError(own)
        else:
            model = called(file, found, *argument)
    except UserCodeError as error:
        raise ModelError(f"model {factory!r}: {error}") from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"model {factory!r} returned {type(model).__name__}, not a module")
    return model


def source_of(factory: str) -> Path | None:
    """The file that a user's net comes from; None for a factory that names no file."""
    path, found, _ = factory.rpartition(".py:")
    return Path(f"{path}.py") if found and path else None


def read_net(place: str, model: str = "") -> nn.Module:
    """The net of a checkpoint folder, or of `FILE.py:FUNCTION`, in eval mode.

    Args:
        model: the user's code that a checkpoint may run; see `with_named_code`.

    Raises:
        ModelError: there is none, or it would run code that was not named.
    """
    if source_of(place) is not None:
        return load_model(ModelSpec(factory=place))
    if not (Path(place) / "model.json").is_file():
        raise ModelError(f"net {place!r} is neither a checkpoint nor FILE.py:FUNCTION")
    return load_model(with_named_code(read_spec(Path(place)), Path(place), model))
