"""Flags of a command as its help tells of them: names, values, meaning, default and section.

They are read from the dataclass that tyro parses into; a setting's meaning is the text below it.
"""

import ast
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import cache
from inspect import get_annotations
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro

from fftune.config import Bound, Dimension
from fftune.config.attack import PIXEL
from fftune.config.validation import is_unsaid
from fftune.registry import (
    ATTACKS,
    BATTERIES,
    DATASETS,
    DEFENSES,
    MODELS,
    OBJECTIVES,
    STRATEGIES,
    Registry,
)

KNOWN: dict[str, Registry] = {
    "AttackConfig.search": ATTACKS,
    "BatteryConfig.name": BATTERIES,
    "DataSpec.name": DATASETS,
    "DefenseConfig.names": DEFENSES,
    "Doctor.defense": DEFENSES,
    "Study.strategy": STRATEGIES,
    "TrainConfig.model": MODELS,
    "TrainConfig.objective": OBJECTIVES,
}
"""Registries of settings that hold a name, by class and field."""
WORDS = {
    "address": "HOST:PORT",
    "checkpoint": "FOLDER",
    "data": "NAME",
    "factory": "FILE.py:NAME",
    "gallery": "FOLDER",
    "model": "NET",
    "ids": "ID",
    "keys": "KEY",
    "net": "NET",
    "out": "FOLDER",
    "rows": "FILE",
    "junit": "FILE",
    "save_images": "FOLDER",
    "source": "FOLDER",
    "storage": "FOLDER",
    "transfer": "NET",
    "weights": "FILE",
    "zoo": "FILE",
}
"""Words for texts, by field; others are a NAME."""
ONE_WORD: dict[Any, str] = {Dimension: "PATH=LOW:HIGH[:SCALE]|PATH=A,B", Bound: "BOUND"}
"""Dataclasses that are typed as one word, and the form of that."""
SECTIONS = {
    "DryRun": ("cost", "What the command would cost."),
    "Resources": ("machine", ""),
    "ThreatModel": ("attackers", "The ball in which attackers may move an image."),
    "TrainConfig": ("training", "What is trained, and how."),
    "Study": ("search", "What is searched, and by which strategy."),
    "SweepConfig": ("trainings", "How often nets are trained, and which trials share a training."),
    "HedgeSweep": ("search", ""),
    "WriteConfig": ("file", "How images are stored."),
}
"""Section and its sentence of fields without a prefix, by their class; those of a command itself
are "run"."""
MACHINE = (
    *("address", "backend", "concurrency", "gpus", "device", "threads", "workers", "min_workers"),
    *("engine", "precision", "craft_precision", "compile", "block_size"),
)
"""Fields that say where and how a command runs."""
RESULTS = ("format", "details", "save_images", "rows", "storage", "pictures")
"""Fields that say in which form results are printed, and where they are kept."""
ON_MACHINE = "Where and how it runs: numbers stay the same but for rounding."

DEFAULT = re.compile(r"(?:;|\.) default\b.*?(?=\.(?: |$))", re.IGNORECASE)
"""Clause on a field's default, which a command may have changed: help tells the command's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A flag, or a positional argument, of a command."""

    names: tuple[str, ...]
    """Short forms first, the whole path last; of a positional argument its word alone."""
    value: str
    """Words for what follows it, as in `N` or `linf|l2`; empty for a switch."""
    meaning: str
    """One paragraph; its first sentence can stand alone."""
    default: str
    """Default as it is typed; empty where the meaning tells it."""
    known: tuple[str, ...]
    """Names that it may have, beside the user's own."""
    section: str
    about: str
    """Sentence about the section."""
    kind: Any
    """Its type."""

    @property
    def choices(self) -> tuple[str, ...]:
        """Words that it may have, those of its type and the known names."""
        return (*self.known, *(str(word) for word in _literals(self.kind) if word is not None))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Place of a dataclass in a command: the prefix of its flags, and their section."""

    prefix: str = ""
    about: str = ""
    forms: Mapping[str, list[str]]


def flags_of(cls: Any, default: Any = None, short: Mapping[str, str] | None = None) -> list[Flag]:
    """Flags of a dataclass, in the order of its fields.

    Args:
        default: an instance whose values are the flags' defaults.
        short: long flags by the short ones that stand for them.
    """
    forms: dict[str, list[str]] = {}
    for form, long in (short or {}).items():
        forms.setdefault(long, []).append(form)
    return list(_walk(cls, default, _Place(forms=forms)))


def _walk(cls: Any, default: Any, place: _Place) -> Iterator[Flag]:
    hints = get_type_hints(cls, include_extras=True)
    for field in fields(cls):
        extras = getattr(hints[field.name], "__metadata__", ())
        hint = hints[field.name].__origin__ if extras else hints[field.name]
        owner, value = owner_of(cls, field.name), _value(field, default)
        meaning = meanings(owner).get(field.name, "")
        named = (one.name for one in extras if getattr(one, "name", None) is not None)
        name = next(named, field.name)
        if (inner := _inner(hint)) is None:
            yield _flag(owner, name, hint, value, meaning, place, extras)
        elif name:
            within = replace(place, prefix=f"{place.prefix}{name}.", about=meaning)
            yield from _walks(inner, value, within)
        else:
            yield from _walks(inner, value, place)


def _walks(inner: tuple[Any, ...], value: Any, place: _Place) -> Iterator[Flag]:
    """Flags of a dataclass, of that of the value where there may be several; or none."""
    if inner == (type(value),):
        yield from _walk(inner[0], value, place)


def _flag(
    owner: type,
    name: str,
    hint: Any,
    value: Any,
    meaning: str,
    place: _Place,
    extras: tuple[Any, ...],
) -> Flag:
    long, word = f"--{place.prefix}{name}".replace("_", "-"), _word(hint, name)
    positional = tyro.conf.Positional in extras
    section, about = ("arguments", "") if positional else _section(owner, name, place)
    told = told_default(value)
    return Flag(
        names=(word.partition(" ")[0],) if positional else (*place.forms.get(long, ()), long),
        value=word.partition(" ")[2] if positional else word,
        meaning=DEFAULT.sub("", meaning) if told else meaning,
        default=told,
        known=tuple(KNOWN.get(f"{owner.__name__}.{name}", ())),
        section=section,
        about=about,
        kind=hint,
    )


def owner_of(cls: type, name: str) -> type:
    """The class that declares a field, of those that a class inherits from."""
    return next((one for one in cls.__mro__ if name in get_annotations(one)), cls)


@cache
def meanings(cls: type) -> dict[str, str]:
    """Texts below the fields of a class, each as one paragraph; none where it has no code here."""
    for node in _code(cls.__module__).body:
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
            pairs = zip(node.body, node.body[1:], strict=False)
            return {
                field.target.id: " ".join(text.value.value.split())
                for field, text in pairs
                if isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
                and isinstance(text.value.value, str)
            }
    return {}


@cache
def _code(module: str) -> ast.Module:
    try:
        return ast.parse(inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, TypeError, SyntaxError):
        return ast.Module(body=[], type_ignores=[])


def _inner(hint: Any) -> tuple[Any, ...] | None:
    """Dataclasses of a field whose settings are flags of their own; None where it is one flag."""
    kinds = (hint, *get_args(hint))
    found = tuple(kind for kind in kinds if isinstance(kind, type) and is_dataclass(kind))
    return found if found and found[0] not in ONE_WORD else None


def _value(field: Any, default: Any) -> Any:
    """The default of a field: of an instance, or of its class."""
    if default is not None:
        return getattr(default, field.name)
    if field.default is not MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not MISSING else None


def _section(owner: type, name: str, place: _Place) -> tuple[str, str]:
    """Section of a flag, and its sentence."""
    section = place.prefix.rstrip(".").replace("_", "-")
    if name in MACHINE and section in ("", "base", "battery"):
        return ".".join(filter(None, (section, "machine"))), ON_MACHINE
    if name in RESULTS and not section:
        return "results", "The form in which results are printed, and where they are kept."
    if section:
        return section, place.about or first_sentence(inspect.getdoc(owner) or "")
    return SECTIONS.get(owner.__name__, ("run", ""))


def first_sentence(text: str) -> str:
    """A text up to the end of its first sentence."""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return re.split(r"(?<=\.) (?=[A-Z`])", paragraph, maxsplit=1)[0]


def _word(hint: Any, name: str) -> str:
    """The word for a value of a type; empty for a switch."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return "|".join(_word(one, name) for one in inner if one is not NoneType)
    if origin is Literal:
        return "|".join(str(one) for one in inner if one is not None)
    if origin is tuple:
        kinds = inner[:1] if inner[1:] == (Ellipsis,) else inner
        words = " ".join(_word(kind, name) for kind in kinds)
        return f"{words} ..." if inner[1:] == (Ellipsis,) else words
    if origin is dict:
        return f"{' '.join(_word(kind, name) for kind in inner)} ..."
    if hint in ONE_WORD:
        return ONE_WORD[hint]
    simple = {bool: "", int: "N", float: "X", Path: "PATH"}
    return simple.get(hint, WORDS.get(name, "NAME"))


def _literals(hint: Any) -> Iterator[Any]:
    """The words of the literals in a type."""
    if get_origin(hint) is Literal:
        yield from get_args(hint)
    else:
        for inner in get_args(hint):
            yield from _literals(inner)


def told_default(value: Any) -> str:
    """A default as it is typed; empty for none."""
    if value is None or value is False or (isinstance(value, float) and is_unsaid(value)):
        return ""
    if value is True:
        return "on"
    if isinstance(value, float):
        pixels = round(value * PIXEL)
        short = f"{value:g}"
        return f"{pixels}/{PIXEL}" if float(short) != value == pixels / PIXEL else short
    if isinstance(value, tuple):
        return " ".join(map(told_default, value))
    return "" if isinstance(value, Mapping) else str(value)
