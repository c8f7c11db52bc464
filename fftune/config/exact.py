"""The exact JSON of settings, and what differs between two of them."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

from fftune.config.checks import nearest
from fftune.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

T = TypeVar("T")


def to_json(config: Any) -> str:
    """Every setting, defaults included; `from_json` gives back an equal value."""
    return json.dumps(dataclasses.asdict(config), indent=2, allow_nan=False) + "\n"


def from_json(cls: type[T], text: str) -> T:
    """Build the dataclass `cls` from what `to_json` wrote.

    Raises:
        ConfigError: a key is unknown (the nearest is named), a value is missing, of the
            wrong type or out of range. The message names the full path.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(cls).validate_json(_refuse_unknown(cls, text), strict=True)
    except ValidationError as error:
        raise ConfigError("; ".join(map(_explain, error.errors()))) from None


def config_hash(config: Any) -> str:
    """16 hex digits that name these settings."""
    return hashlib.sha256(to_json(config).encode()).hexdigest()[:16]


def flat(config: Any) -> dict[str, Any]:
    """Every leaf setting by its full path, as in `base.attack.steps`."""
    leaves: dict[str, Any] = {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        inner = flat(value) if dataclasses.is_dataclass(value) else None
        leaves |= {f"{f.name}.{k}": v for k, v in inner.items()} if inner else {f.name: value}
    return leaves


def differences(old: Any, new: Any) -> str:
    """What changed from one config to another, one setting after the other."""
    was, now = flat(old), flat(new)
    return ", ".join(f"{k} was {was.get(k)!r}, now {now[k]!r}" for k in now if was.get(k) != now[k])


def _refuse_unknown(cls: type[Any], text: str) -> str:
    """The text itself, once every key in it is known to be a field."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"not JSON: {error}") from None
    if not isinstance(data, Mapping):
        raise ConfigError(f"settings must be a JSON object, got {type(data).__name__}")
    _check_keys(cls, data, "")
    return text


def _check_keys(cls: type[Any], data: Mapping[str, Any], at: str) -> None:
    fields = {f.name: f.type for f in dataclasses.fields(cls)}
    for key, value in data.items():
        if key not in fields:
            raise ConfigError(f"unknown setting {at + key!r}; {nearest(key, fields)}")
        kind = fields[key]
        if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
            _check_keys(cast("type[Any]", kind), value, f"{at}{key}.")
        if isinstance(value, list):  # of the elements of a tuple, as in `space.0.low`
            for element in filter(dataclasses.is_dataclass, get_args(kind)):
                for i, one in enumerate(value):
                    if isinstance(one, Mapping):
                        _check_keys(cast("type[Any]", element), one, f"{at}{key}.{i}.")


def _explain(error: "ErrorDetails") -> str:
    at = ".".join(map(str, error["loc"]))
    if error["type"] == "value_error":  # our own rule, which begins with its setting
        rule = str(error["ctx"]["error"])
        return f"{at}.{rule}" if at else rule
    return f"{at}: {error['msg']}, got {error['input']!r}"
