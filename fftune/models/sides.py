"""Which images are large enough for a net."""

from fftune.config import InputSpec
from fftune.errors import ConfigError


def require_min_size(name: str, inputs: InputSpec, least: int) -> None:
    """Refuse images with a side below `least`, of which a net would leave nothing."""
    if min(inputs.shape[1:]) < least:
        raise ConfigError(
            f"model {name!r} needs images of at least {least} x {least}, got {inputs.shape}"
        )
