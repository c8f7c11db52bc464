"""Checks of settings, which raise one clear line that names the setting."""

from dataclasses import fields
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from fftune.errors import ConfigError
from fftune.registry import nearest

MOST = 10**9
"""Largest count of anything: whoever asks for more has mistyped, or would never see the end."""


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


def require_words(config: Any) -> None:
    """Refuse values of a dataclass that are none of their field's words, no number, or no count.

    Types are promises that Python does not keep: a misspelt norm would else be the other one.

    Raises:
        ConfigError: a field of a `Literal` type has another value, a `float` is no number, or a
            count is beyond `MOST`.
    """
    kind: Any = type(config)
    for name in _counts(kind):
        value = getattr(config, name)
        if isinstance(value, int) and abs(value) > MOST:
            raise ConfigError(f"{name} must be at most {MOST:,}, got {value}")
    for name, words in _words(kind).items():
        value = getattr(config, name)
        numeric = not words or float in words
        if numeric and isinstance(value, int | float):
            continue
        if words and value not in words:
            known = [word for word in words if isinstance(word, str)]
            rule = f"one of {', '.join(known)}" if not numeric else f"a number or {known[0]!r}"
            raise ConfigError(f"{name} must be {rule}, got {value!r}; {nearest(str(value), known)}")
        if not words and not (value is None or isinstance(value, int | float)):
            raise ConfigError(f"{name} must be a number, got {value!r}")


@cache
def _counts(cls: Any) -> list[str]:
    """Fields of integers; seeds are no counts."""
    hints = get_type_hints(cls)
    names = [field.name for field in fields(cls) if not field.name.endswith("seed")]
    return [name for name in names if int in _options(hints[name])]


@cache
def _words(cls: Any) -> dict[str, tuple[Any, ...]]:
    """Words that each field may take, none where it is a number; other fields are left out.

    `float` among the words stands for any number.
    """
    hints, found = get_type_hints(cls), {}
    for field in fields(cls):
        options = _options(hints[field.name])
        if any(get_origin(option) is Literal for option in options):
            words = [w for o in options if get_origin(o) is Literal for w in get_args(o)]
            others = [kind for kind in (float, type(None)) if kind in options]
            found[field.name] = (*words, *(None if kind is not float else float for kind in others))
        elif float in options:
            found[field.name] = ()
    return found


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def read_number(word: str) -> float:
    """Read a number or a fraction, as in "0.1", "8/255" or "0.5/1".

    Raises:
        ValueError: it is neither, or a division by zero.
    """
    above, slash, below = word.partition("/")
    if not slash:
        return float(word)
    if not float(below):
        raise ValueError(f"{word!r} divides by zero")
    return float(above) / float(below)
