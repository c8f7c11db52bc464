"""Change settings by their paths, with the checks of a config that is read from a file."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from fftune.config.search_space import with_settings
from fftune.config.serialization import from_json, to_json
from fftune.errors import ConfigError
from fftune.registry import nearest

C = TypeVar("C")


def with_checked(config: C, settings: Mapping[str, Any]) -> C:
    """Replace the values at some paths, as in `{"optimizer.epochs": 5}`, and check their types.

    Raises:
        ConfigError: a path is unknown, or a value is of another type or out of range.
    """
    for path in settings:
        _require_field(config, path)
    if not settings:
        return config
    try:
        changed = with_settings(config, settings)
        return from_json(type(changed), to_json(changed))
    except TypeError as error:
        values = ", ".join(f"{path} = {value!r}" for path, value in settings.items())
        raise ConfigError(f"settings of another type than their fields: {values}") from error


def _require_field(config: Any, path: str) -> None:
    name, _, rest = path.partition(".")
    names = [f.name for f in fields(config)] if is_dataclass(config) else []
    if name not in names:
        raise ConfigError(f"unknown setting {path!r}; {nearest(name, names)}")
    if rest:
        _require_field(getattr(config, name), rest)
