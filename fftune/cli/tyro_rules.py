"""Rules for tyro: numbers that may be fractions, and refusals in one line.

tyro draws a box around what it refuses, coloured and wrapped to the terminal. Nothing of that is
read: its hook for parse errors tells what is wrong. The hook is not yet a stable part of tyro, so
`pyproject.toml` holds tyro to releases that have it; a kind of error that is unknown here is still
told by tyro's box, with exit code 2.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin

import tyro
from tyro import _errors as events

from fftune.config import nearest
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
        str_from_instance=lambda value: [repr(value)],
    )


@contextmanager
def refusals(names: Callable[[], list[str]], arguments: Sequence[str]) -> Iterator[None]:
    """Raise `ConfigError` for what tyro refuses in the block.

    Args:
        names: lists the flags that there are.
    """

    def refuse(event: events.ParseErrorEvent) -> None:
        if (message := _message(event, names, arguments)) is not None:
            raise ConfigError(message)

    with events.on_parse_error(refuse):
        yield


def _message(
    event: events.ParseErrorEvent, names: Callable[[], list[str]], arguments: Sequence[str]
) -> str | None:
    """One line on an error; None for those that only tyro knows how to tell."""
    match event:
        case events.UnrecognizedArgs(tokens=tokens):
            return _unknown(tokens, sorted(names()))
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


def _unknown(tokens: Sequence[str], known: Sequence[str]) -> str:
    flag = next((token for token in tokens if token.startswith("-")), None)
    if flag is None:
        return f"unexpected argument {tokens[0]!r}"
    flag = flag.partition("=")[0].replace("_", "-")
    near = _near(flag, known)
    return f"unknown flag {flag}; " + (
        f"did you mean {' or '.join(near)}?" if near else "--help-all lists all"
    )


def _near(flag: str, known: Sequence[str]) -> list[str]:
    """Flags whose paths end as this one's does; or the short one that is like it; or like ends."""
    last = flag.lstrip("-").rpartition(".")[2]
    ends = {one: one.lstrip("-").rpartition(".")[2] for one in known}
    if last not in ends.values():
        short = [one for one in known if "." not in one]
        if "." not in flag and (close := get_close_matches(flag, short, n=1, cutoff=0.75)):
            return close
        last = next(iter(get_close_matches(last, ends.values(), n=1)), "")
    return [one for one in known if ends[one] == last]


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
