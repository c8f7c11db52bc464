"""Rules for tyro: numbers that may be fractions, and refusals in one line.

tyro draws a box around what it refuses, coloured and wrapped to the terminal. Nothing of that is
read: its hook for parse errors tells what is wrong. The hook is not yet a stable part of tyro, so
`pyproject.toml` holds tyro to releases that have it; a kind of error that is unknown here is still
told by tyro's box, with exit code 2.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin, get_type_hints

import tyro
from tyro import _errors as events

from fftune.config import nearest, told_radius
from fftune.config.validation import read_number
from fftune.errors import ConfigError

NUMBERS = tyro.constructors.ConstructorRegistry()
"""Numbers may be fractions, as radii are in pixels: `--eps 8/255`."""


@NUMBERS.primitive_rule
def _number(
    info: tyro.constructors.PrimitiveTypeInfo,
) -> tyro.constructors.PrimitiveConstructorSpec[float] | None:
    if info.type is not float:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="FLOAT",
        instance_from_str=lambda words: read_number(words[0]),
        is_instance=lambda value: isinstance(value, int | float),
        str_from_instance=lambda value: [_printed(value)],
    )


def _printed(value: float) -> str:
    """A default in a help text: radii as everywhere, 0.0313725 (8/255)."""
    radius = told_radius(value)
    return radius if "/" in radius and float(f"{value:.6g}") != value else repr(value)


@contextmanager
def refusals(cls: Callable[..., Any], arguments: Sequence[str]) -> Iterator[None]:
    """Raise `ConfigError` for what tyro refuses in the block, while it parses a `cls`."""

    def refuse(event: events.ParseErrorEvent) -> None:
        if (message := _message(event, cls, arguments)) is not None:
            raise ConfigError(message)

    with events.on_parse_error(refuse):
        yield


def _message(
    event: events.ParseErrorEvent, cls: Callable[..., Any], arguments: Sequence[str]
) -> str | None:
    """One line on an error; None for those that only tyro knows how to tell."""
    match event:
        case events.UnrecognizedArgs(tokens=tokens):
            return _unknown(tokens, cls)
        case events.InvalidChoice(argument=argument, value=value, choices=choices):
            kind = argument.field.type
            words = _words((kind, *get_args(kind)))  # tyro's are in no order, and hold None
            return f"{_path(argument)} {_one_of(words or choices, value)}"
        case events.BadValue(argument=argument, reason="too_few_values"):
            return f"{_path(argument)} must have a value"
        case events.MissingArgs(missing_arguments=missing):
            return f"{_path(missing[0].arg)} is missing"
        case events.InstantiationFailure(argument=argument, message=message):
            text = " ".join(message.split())
            if argument is None:
                return text
            rule = _rule(argument.field.type, _given(argument, arguments))
            return f"{_path(argument)} {rule or f'cannot be used: {text}'}"
    return None


def _unknown(tokens: Sequence[str], cls: Callable[..., Any]) -> str:
    flag = next((token for token in tokens if token.startswith("-")), None)
    if flag is None:
        return f"unexpected argument {tokens[0]!r}"
    flag, known = flag.partition("=")[0], sorted(flags_of(cls))
    last = flag.lstrip("-").rpartition(".")[2]
    ends = {one: one.lstrip("-").rpartition(".")[2] for one in known}
    close = [last] if last in ends.values() else get_close_matches(last, ends.values(), n=1)
    near = [one for one in known if ends[one] in close]
    return f"unknown flag {flag}; " + (
        f"did you mean {' or '.join(near)}?" if near else "--help lists all"
    )


def flags_of(cls: Any, prefix: str = "--") -> Iterator[str]:
    """The long flags of a dataclass, as in `--attack.step-size`."""
    hints = get_type_hints(cls, include_extras=True)
    for field in fields(cls):
        hint = hints[field.name]
        extras = getattr(hint, "__metadata__", ())
        if tyro.conf.Positional in extras:
            continue
        named = (extra.name for extra in extras if getattr(extra, "name", None) is not None)
        name = prefix + next(named, field.name.replace("_", "-"))
        bare = hint.__origin__ if extras else hint
        kinds = (bare, *get_args(bare))
        inner = [kind for kind in kinds if isinstance(kind, type) and is_dataclass(kind)]
        for kind in inner:
            yield from flags_of(kind, name if name == prefix else f"{name}.")
        if not inner:
            yield name


def _path(argument: Any) -> str:
    """The path of a setting, as in `attack.step_size`."""
    return str(argument.display_name()).lstrip("-").replace("-", "_")


def _given(argument: Any, arguments: Sequence[str]) -> str:
    """The words after a flag."""
    flags = [flag.replace("_", "-") for flag in argument.lowered.name_or_flags]
    for at, word in enumerate(arguments):
        flag, equals, value = word.partition("=")
        if flag.replace("_", "-") in flags:
            return value if equals else " ".join(arguments[at + 1 : at + 2])
    return ""


def _rule(kind: Any, given: str) -> str | None:
    """The rule that a value of a type broke."""
    kinds = (kind, *get_args(kind))
    words = _words(kinds)
    if float in kinds:
        other = "".join(f"{word}, " for word in words)
        return f"must be {other}a number, or a fraction as in 8/255, got {given!r}"
    if int in kinds:
        return f"must be a whole number, got {given!r}"
    return _one_of(words, given) if words else None


def _words(kinds: Sequence[Any]) -> list[Any]:
    """The words of those types that are literals."""
    return [word for one in kinds if get_origin(one) is Literal for word in get_args(one)]


def _one_of(words: Sequence[Any], given: str) -> str:
    texts = [str(word) for word in words if word is not None]
    near = nearest(given, texts)
    hint = f"; {near}" if near.startswith("did") else ""
    return f"must be one of {', '.join(texts)}, got {given!r}{hint}"
