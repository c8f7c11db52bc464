"""The net that a place names: a checkpoint, perhaps a variant of one, or as `--model` names it."""

from torch import nn

from fftune.errors import ConfigError, ModelError
from fftune.models.loading import load_model
from fftune.models.specs import named_spec, read_spec, with_named_code
from fftune.models.variants import checkpoint_at


def read_net(place: str, model: str = "") -> nn.Module:
    """The net of a checkpoint folder, or as `--model` names it, in eval mode.

    Args:
        place: may end in a variant, as in `runs/mine@average`.
        model: the user's code that a checkpoint may run; see `with_named_code`.

    Raises:
        ModelError: there is none, or it would run code that was not named.
    """
    if (folder := checkpoint_at(place)) is not None:
        return load_model(with_named_code(read_spec(folder), folder, model))
    try:
        return load_model(named_spec(place))
    except ConfigError as error:
        raise ModelError(f"net: {error}") from None
