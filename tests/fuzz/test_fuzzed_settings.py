"""Settings that nobody means: each is refused in one line that names it, or it is usable."""

import contextlib
import dataclasses
import importlib
import inspect
import math
import os
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fftune import config, recipes
from fftune.cli import audit, data, doctor, evaluate, gate, report, reproduce, sweep, train, view
from fftune.cli.flags import flags_of
from fftune.cli.options import parse
from fftune.cli.verbs import VERBS
from fftune.config import HedgeSweep, SweepConfig
from fftune.errors import UserError
from tests.cli import commands
from tests.fuzz.said import Said

EXAMPLES = int(os.environ.get("FFTUNE_FUZZ_EXAMPLES", "4000"))
"""Command lines that the slow tests try."""
FUZZ = settings(
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
HUGE = 10**23
NUMBERS = (HUGE, -HUGE, -1, 0, math.inf, -math.inf, math.nan, 1e308, -0.5)
OTHERS = (None, True, "", "x", "../..", "a\nb", "\0", "\udcff", "λ" * 400, b"x", object(), [], {})
NASTY = (*NUMBERS, *OTHERS, (), (None,), (HUGE,), (math.nan, 1.0), ((0, math.inf),), ("x", "x"))
NEEDED: dict[str, dict[str, Any]] = {
    "Bound": {"risk": "natural_risk", "most": 0.1},
    "Dimension": {"path": "lam", "high": 1.0},
    "InputSpec": {"shape": (1, 8, 8), "classes": 10, "mean": (0.5,), "std": (0.5,)},
    "ModelSpec": {"factory": "fftune:small_cnn"},
    "Origin": {"version": "timm 1.0", "told": "timm 1.0"},
    "Phase": {"epochs": 1, "batch_size": 2, "data": "digits"},
}
"""What those classes need that have no default settings."""


def classes() -> Iterator[type[Any]]:
    """Every dataclass of settings, wherever `fftune.config` holds it."""
    for found in pkgutil.iter_modules(config.__path__, "fftune.config."):
        for cls in vars(importlib.import_module(found.name)).values():
            own = inspect.isclass(cls) and cls.__module__ == found.name
            if own and dataclasses.is_dataclass(cls) and not inspect.isabstract(cls):
                yield cls


FIELDS = [(cls, f.name) for cls in classes() for f in dataclasses.fields(cls)]


@pytest.mark.parametrize(("cls", "name"), FIELDS, ids=lambda x: getattr(x, "__name__", str(x)))
def test_no_value_of_a_field_is_a_traceback(cls: type[Any], name: str) -> None:
    needed = NEEDED.get(cls.__name__, {})
    cls(**needed)
    for value in NASTY:
        with contextlib.suppress(UserError):
            cls(**(needed | {name: value}))


@pytest.mark.parametrize(("cls", "name"), FIELDS, ids=lambda x: getattr(x, "__name__", str(x)))
def test_numbers_that_nothing_can_use_are_refused(cls: type[Any], name: str) -> None:
    needed, kinds = NEEDED.get(cls.__name__, {}), numeric(get_type_hints(cls)[name])
    for kind in kinds:
        values = (HUGE, -HUGE) if kind is int else (math.inf, -math.inf, math.nan)
        for value in values:
            with pytest.raises(UserError, match=name):
                cls(**(needed | {name: value}))


def numeric(hint: Any) -> set[Any]:
    """The kinds of plain numbers that a type allows."""
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return {int, float} & set(options)


def test_the_walk_finds_the_settings() -> None:
    names = {cls.__name__ for cls in classes()}
    assert {"TrainConfig", "AttackConfig", "SweepConfig", "HedgeSweep", "Resources"} <= names
    assert len(FIELDS) > 150


# Below: command lines.

COMMANDS = {name: (cls, default) for name, (cls, default, _) in commands.COMMANDS.items()}
POSITIONAL = ("data write", "data verify", "data sign")
"""Commands that need the name of a set before their flags."""
MAINS = {
    "evaluate": evaluate.main,
    "audit": audit.main,
    "gate": gate.main,
    "doctor": doctor.main,
    "reproduce": reproduce.main,
    "report": report.main,
    "train": train.main,
    "data": data.main,
    "sweep": sweep.main,
    "view": view.main,
}


OPTIONS = [
    (name, f.name)
    for name, (cls, _) in COMMANDS.items()
    for f in dataclasses.fields(cls)
    if numeric(get_type_hints(cls)[f.name])
]


@pytest.mark.parametrize(("command", "name"), OPTIONS)
def test_numbers_of_a_command_are_refused_too(command: str, name: str) -> None:
    cls, default = COMMANDS[command]
    default = default or cls(name="digits")
    for kind in numeric(get_type_hints(cls)[name]):
        for value in (HUGE, -HUGE) if kind is int else (math.inf, -math.inf, math.nan):
            with pytest.raises(UserError, match=name):
                dataclasses.replace(default, **{name: value})


FLAGS = [
    (name, flag.names[-1])
    for name, (cls, default) in COMMANDS.items()
    for flag in flags_of(cls, default)
    if flag.names[-1].startswith("--")
]
WORDS = st.one_of(
    st.sampled_from(
        [str(value) for value in NUMBERS]
        + ["1e999", "8/0", "0/0", "1/1e-320", "9" * 5000, "0x10", "1_0", "१", "NaN", "None", "True"]
        + ["", " ", "-", "--", "--x", "~nobody/x", "/dev/null", "/", ".", "..", "../../x", "a b"]
        + ["a\nb", "a\0b", "\udcff", "λ", "x" * 5000, "x.py:y", "x.py", "folder:", "synthetic:"]
        + ["lam=0:1", "lam=", "lam=nan:1", "lam=0:1:log", "=", "a=b=c", "'", '"', "{}", "[]", "%s"]
    ),
    st.text(max_size=8),
    st.integers().map(str),
    st.floats().map(str),
)


def check_flag(name: str, flag: str, word: str) -> None:
    """A command with one flag more, which is parsed and not done."""
    cls, default = COMMANDS[name]
    options = {} if default is None else {"default": default}
    positional = ["digits"] if name in POSITIONAL else []
    given = [*positional, flag, word]
    with sweep.WORDS:
        said = Said(lambda: parse(cls, given, prog="fftune", **options) and None)
    said.require_one_line()


def check_words(verb: str, words: list[str], folder: Path) -> None:
    """A command of words alone, which is done where it can be."""
    said = Said(lambda: MAINS[verb](words))
    if words not in (["-h"], ["--help"]):
        assert said.code == 2, (verb, words)
    said.require_one_line()
    assert not [*folder.iterdir()]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch) -> Path:
    """An empty folder to be in; results would go to another."""
    for name in ("here", "store", "home", "data"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for variable, name in {
        "FFTUNE_STORAGE": "store",
        "HOME": "home",
        "FFTUNE_DATA": "data",
    }.items():
        monkeypatch.setenv(variable, str(tmp_path / name))
    return tmp_path / "here"


@settings(FUZZ, max_examples=80)
@given(st.sampled_from(FLAGS), WORDS)
def test_no_word_after_a_flag_is_a_traceback(flag: tuple[str, str], word: str) -> None:
    check_flag(*flag, word)


JUNK = WORDS.filter(lambda word: not word.startswith("-") and word not in ("all", "list"))


@settings(FUZZ, max_examples=60)
@given(st.sampled_from(list(MAINS)), st.lists(JUNK, min_size=1, max_size=2))
def test_no_words_are_a_traceback(nowhere: Path, verb: str, words: list[str]) -> None:
    check_words(verb, words, nowhere)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(FUZZ, max_examples=EXAMPLES // 2, derandomize=False)
@given(st.sampled_from(FLAGS), WORDS)
def test_many_words_after_flags(flag: tuple[str, str], word: str) -> None:
    check_flag(*flag, word)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(FUZZ, max_examples=EXAMPLES // 4, derandomize=False)
@given(st.sampled_from(list(MAINS)), st.lists(JUNK, min_size=1, max_size=3))
def test_many_words(nowhere: Path, verb: str, words: list[str]) -> None:
    check_words(verb, words, nowhere)


def test_every_verb_is_tried() -> None:
    assert MAINS.keys() == VERBS.keys()
    assert {name.split()[0] for name in COMMANDS} == VERBS.keys()
    assert {HedgeSweep, SweepConfig} == {type(recipes.study(n, "tiny")) for n in recipes.RECIPES}


def test_a_number_of_many_digits_is_read_as_one() -> None:
    """Python refuses to read it, by an error that is none of a number's."""
    assert sys.get_int_max_str_digits() < 5000
    check_flag("evaluate", "--battery.steps", "9" * 5000)
