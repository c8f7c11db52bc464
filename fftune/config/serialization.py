"""Exact JSON of settings, their hash, and the differences between two of them."""

import dataclasses
import hashlib
import json
import textwrap
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args, get_origin

from fftune.errors import ConfigError, UserError
from fftune.registry import nearest
from fftune.stored_file import reading

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

T = TypeVar("T")

SCHEMA_VERSION = 7
"""Version of stored settings; every added field raises it. Files without one have version 1."""
SINCE = "since"
"""Key in a field's metadata: first version with this field. Older files get its default."""
_VERSION = "schema_version"


def to_json(config: Any) -> str:
    """Serialise every setting, defaults included; `from_json` gives back an equal value."""
    version = {_VERSION: SCHEMA_VERSION} if SCHEMA_VERSION > 1 else {}
    return _written(dataclasses.asdict(config) | version)


def from_json(cls: type[T], text: str) -> T:
    """Build the dataclass `cls` from the output of `to_json`.

    Raises:
        ConfigError: a key is unknown (the nearest is named), or a value is missing, of the
            wrong type or out of range. The message names the full path. Only fields newer than
            the text may be missing.
    """
    return _built(cls, _checked(cls, text))


def read_settings(
    cls: type[T], path: Path, what: str = "settings", error: type[UserError] = ConfigError
) -> T:
    """Build the dataclass `cls` from a file that `to_json` gave.

    Raises:
        error: the file cannot be read, or does not hold such settings; see `from_json`.
    """
    with reading(path, what, error):
        return from_json(cls, path.read_text(encoding="utf-8"))


def of_plain(cls: type[T], data: Mapping[str, Any]) -> T:
    """Build a dataclass of results from plain JSON values, with their types checked.

    Keys that are no fields are ignored: results are stored with what is derived from them.

    Raises:
        ConfigError: a value is missing, or of the wrong type.
    """
    try:
        return _built(cls, json.dumps(data))
    except TypeError as error:
        raise ConfigError(f"not plain values: {error}") from None


def _built(cls: type[T], text: str) -> T:
    from pydantic import ValidationError

    kind: Any = cls
    try:
        return cast("T", _adapter(kind).validate_json(text, strict=True))
    except ValidationError as error:
        raise ConfigError("; ".join(map(_explain, error.errors()))) from None


@cache
def _adapter(cls: type[Any]) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def config_hash(config: Any) -> str:
    """Hash of the settings, 16 hex digits."""
    return hashlib.sha256(_written(dataclasses.asdict(config)).encode()).hexdigest()[:16]


def flat(config: Any) -> dict[str, Any]:
    """Map the full path of each leaf setting, as in `base.attack.steps`, to its value."""
    leaves: dict[str, Any] = {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        inner = flat(value) if dataclasses.is_dataclass(value) else None
        leaves |= {f"{f.name}.{k}": v for k, v in inner.items()} if inner else {f.name: value}
    return leaves


def differences(old: Any, new: Any) -> str:
    """Describe the settings that differ, as in "base.lam was 1.0, now 2.0"."""
    was, now = flat(old), flat(new)
    return ", ".join(f"{k} was {was.get(k)!r}, now {now[k]!r}" for k in now if was.get(k) != now[k])


def _written(data: Mapping[str, Any]) -> str:
    return json.dumps(data, indent=2, allow_nan=False) + "\n"


def _checked(cls: type[Any], text: str) -> str:
    """Check that the text's keys are the fields of `cls`, and return it without the version."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"not JSON: {error}") from None
    if not isinstance(data, Mapping):
        raise ConfigError(f"settings must be a JSON object, got {type(data).__name__}")
    version = data.get(_VERSION, 1)
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        later = isinstance(version, int) and version > SCHEMA_VERSION
        why = "; a later fftune has written it" if later else ""
        raise ConfigError(f"{_VERSION} must be 1 to {SCHEMA_VERSION}, got {version!r}{why}")
    own = _upgraded(cls, {key: value for key, value in data.items() if key != _VERSION})
    _check_keys(cls, own, "", version)
    return json.dumps(own)


def _upgraded(cls: type[Any], data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Stored settings in today's words: each class's own `upgraded`, where it has one."""
    kinds = {f.name: f.type for f in dataclasses.fields(cls)}
    new = {
        key: _upgraded(cast("type[Any]", kinds[key]), value)
        if dataclasses.is_dataclass(kinds.get(key)) and isinstance(value, Mapping)
        else value
        for key, value in data.items()
    }
    upgrade: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None
    upgrade = getattr(cls, "upgraded", None)
    return new if upgrade is None else upgrade(new)


def _check_keys(cls: type[Any], data: Mapping[str, Any], at: str, version: int) -> None:
    fields = {f.name: f.type for f in dataclasses.fields(cls)}
    for key, value in data.items():
        if key not in fields:
            raise ConfigError(f"unknown setting {at + key!r}; {nearest(key, fields)}")
        kind = fields[key]
        if isinstance(value, Mapping):  # also where None may stand instead
            kinds = get_args(kind) if get_origin(kind) is UnionType else (kind,)
            for inner in filter(dataclasses.is_dataclass, kinds):
                _check_keys(cast("type[Any]", inner), value, f"{at}{key}.", version)
        if isinstance(value, list):  # of the elements of a tuple, as in `space.0.low`
            for element in filter(dataclasses.is_dataclass, get_args(kind)):
                for i, one in enumerate(value):
                    if isinstance(one, Mapping):
                        _check_keys(cast("type[Any]", element), one, f"{at}{key}.{i}.", version)
    for f in dataclasses.fields(cls):
        if f.name not in data and f.metadata.get(SINCE, 1) <= version:
            raise ConfigError(f"{at + f.name} is missing")


def _explain(error: "ErrorDetails") -> str:
    at = ".".join(map(str, error["loc"]))
    if error["type"] == "value_error":  # our own rule, which begins with its setting
        rule = str(error["ctx"]["error"])
        return f"{at}.{rule}" if at else rule
    return f"{at}: {error['msg']}, got {textwrap.shorten(repr(error['input']), 200)}"
