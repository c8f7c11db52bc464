"""Checks of settings, which raise one clear line that names the setting."""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from math import inf, isfinite
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from fftune.errors import ConfigError
from fftune.registry import nearest

MOST = 10**9
"""Largest count of anything: whoever asks for more has mistyped, or would never see the end."""
MOST_OF = {"seed": 2**63 - 1, "threads": 1024}
"""Largest value by the end of a setting's name; more threads may end the process by a signal."""
TYPES = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "True or False",
    NoneType: "None",
}
"""Words for types in messages."""


def require(setting: str, holds: bool, rule: str, value: object) -> None:
    """Raise `ConfigError` unless `holds`. NaN fails every comparison, so it fails here."""
    if not holds:
        raise ConfigError(f"{setting} must be {rule}, got {value!r}")


def require_word(setting: str, value: object, words: Any) -> None:
    """Raise `ConfigError` unless a value is one of the words of a `Literal` type."""
    known = get_args(words)
    if value not in known:
        rule = f"{setting} must be one of {', '.join(known)}"
        raise ConfigError(f"{rule}, got {value!r}; {nearest(str(value), known)}")


class _Unsaid(float):
    """Placeholder for a radius or weight that was not given: a default that others determine."""


UNSAID: float = _Unsaid("nan")


def is_unsaid(value: float) -> bool:
    """Tell if a number was not given, so that its default stands for it."""
    return isinstance(value, _Unsaid)


def require_words(config: Any) -> None:
    """Refuse values of a dataclass that are not of their fields' types, or no usable numbers.

    Types are promises that Python does not keep: a misspelt norm would else be the other one.

    Raises:
        ConfigError: a value is of another type, or none of a `Literal`'s words; or see
            `require_usable`.
    """
    kind: Any = type(config)
    for name, hint in _hints(kind).items():
        value = getattr(config, name)
        if not _fits(value, hint):
            raise ConfigError(f"{name} must be {_described(value, hint)}")
        require_usable(name, value)


def require_usable(setting: str, value: object) -> None:
    """Refuse a number that no computation can use: infinite, nan, or beyond `MOST`.

    Args:
        value: a number, or numbers in sequences, mappings and dataclasses; others always pass.

    Raises:
        ConfigError: the message begins with the setting, or its path in a dataclass.
    """
    if isinstance(value, list | tuple):
        for one in value:
            require_usable(setting, one)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            require_usable(f"{setting} {key}", one)
    elif is_dataclass(value):
        for f in fields(value):
            require_usable(f"{setting}.{f.name}" if setting else f.name, getattr(value, f.name))
    elif isinstance(value, float):
        require(setting, isfinite(value) or is_unsaid(value), "finite", value)
    elif isinstance(value, int):
        most = next((own for name, own in MOST_OF.items() if setting.endswith(name)), MOST)
        require(setting, -most <= value <= most, f"at most {most:,}", _short(value))


@cache
def _hints(cls: Any) -> dict[str, Any]:
    """Types of a dataclass's fields."""
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in fields(cls)}


def _fits(value: object, hint: Any) -> bool:
    """Tell if a value is of a field's type; lists pass for tuples, whole numbers for floats."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, option) for option in inner)
    if origin is Literal:
        return any(value is word or (type(value) is type(word) and value == word) for word in inner)
    if hint in (int, float):
        kind = Integral if hint is int else Real
        return isinstance(value, kind) and not isinstance(value, bool)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return False
        each = inner[:1] * len(value) if inner[1:] == (Ellipsis,) else inner
        return len(each) == len(value) and all(map(_fits, value, each))
    kind = origin or hint
    return not isinstance(kind, type) or isinstance(value, kind)


def _described(value: object, hint: Any) -> str:
    """The rule of a type, and what was given instead."""
    options = _options(hint)
    words = [w for o in options if get_origin(o) is Literal for w in get_args(o)]
    known = [str(word) for word in words if word is not None]
    if words and float in options:
        return f"a number or {known[0]!r}, got {value!r}; {nearest(str(value), known)}"
    if words:
        return f"one of {', '.join(known)}, got {value!r}; {nearest(str(value), known)}"
    kinds = (TYPES.get(option, getattr(option, "__name__", str(option))) for option in options)
    return f"{' or '.join(dict.fromkeys(kinds))}, got {_short(value)!r}"


def _short(value: object) -> object:
    """The value, or what is told of one that nobody can read."""
    if isinstance(value, int) and abs(value) >= 10**18:
        return float(value) if abs(value) < 10**300 else inf
    return value


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def read_number(word: str) -> float:
    """Read a number or a fraction, as in "0.1", "8/255" or "0.5/1".

    Raises:
        ValueError: it is neither, or a division by zero, or so small that it would become zero.
    """
    above, slash, below = word.partition("/")
    if slash and not float(below):
        raise ValueError(f"{word!r} divides by zero")
    number = float(above) / float(below) if slash else float(word)
    if not number and re.search("[1-9]", above.lower().partition("e")[0]):
        raise ValueError(f"{word!r} is too small for a number of 64 bits")
    return number
