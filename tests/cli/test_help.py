"""Every flag says what it is, in which unit, with which default and choices; on a screen."""

import importlib
import re
from types import NoneType
from typing import get_args

import pytest
import tyro

from fftune.cli import sweep
from fftune.cli.flags import KNOWN, Flag, flags_of, told_default
from fftune.cli.help_page import page
from fftune.cli.tyro_rules import NUMBERS
from fftune.cli.verbs import VERBS
from fftune.errors import ConfigError
from tests.cli.commands import COMMANDS

SCREEN = 40
"""Lines of a screen."""
UNITS = re.compile(
    r"\b(epochs?|examples|steps?|seconds|pixels|queries|images|threads|processes|GPUs|trials|"
    r"trainings|seeds?|restarts|classes|channels|bits|MiB|cards|draws|copies|attempts|factor|"
    r"share|weights?|parts|passes|phases|from 1 to 100|1 to 100|ids|deviation|points)\b",
    re.IGNORECASE,
)
FLAGS = {
    command: flags_of(cls, default, manual.short)
    for command, (cls, default, manual) in COMMANDS.items()
}


def complaints(flag: Flag) -> list[str]:
    """Everything that is wrong with a flag's help."""
    kinds, text = {flag.kind, *get_args(flag.kind)}, flag.meaning
    found = []
    if not text or not text.endswith(".") or text[0].islower():
        found.append("no sentence")
    if kinds & {int, float} and not UNITS.search(text):
        found.append("no unit")
    if "None" in flag.value or "{" in flag.value or "STR" in flag.value:
        found.append("a type for a word")
    if flag.default and re.search(r"(;|\.) default", text, re.IGNORECASE):
        found.append("two defaults")
    needed = NoneType in kinds or flag.kind is tuple or "..." in flag.value
    said = flag.default or re.search(r"default|None", text, re.IGNORECASE)
    if needed and not said and flag.names[-1].startswith("-"):
        found.append("no default")
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_is_explained(command: str) -> None:
    wrong = {flag.names[-1]: complaints(flag) for flag in FLAGS[command]}
    assert {name: found for name, found in wrong.items() if found} == {}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_the_flags_that_tyro_takes(command: str, capsys, monkeypatch) -> None:
    cls, default, _ = COMMANDS[command]
    options = {} if default is None else {"default": default}
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit), NUMBERS, sweep.WORDS:
        tyro.cli(cls, args=["--help"], **options)
    said = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    taken = {*re.findall(r"^\W? {1,2}(--\w[\w.-]+)", said, re.MULTILINE)}
    ours = {flag.names[-1] for flag in FLAGS[command] if flag.names[-1].startswith("--")}
    assert taken == ours


@pytest.mark.parametrize("columns", ["80", "140"])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_screen(command: str, columns: str, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    manual, flags = COMMANDS[command][2], FLAGS[command]
    said = page(manual, flags, f"fftune {command}", ["--help"]).splitlines()
    assert len(said) <= SCREEN and max(map(len, said)) < int(columns)
    assert all(any(f" {form} " in f"{line} " for line in said) for form in manual.usual)
    every = page(manual, flags, f"fftune {command}", ["--help-all"])
    for section in every.split("\n\n"):
        assert section.count("\n") <= SCREEN, section
    assert all(form in every for form in manual.short)
    assert max(map(len, every.splitlines())) < int(columns)
    for flag in flags:
        one = page(manual, flags, f"fftune {command}", ["--help-all", flag.section])
        assert flag.names[-1] in one.replace("[no-]", "") and len(one) < len(every)


def test_a_section_that_there_is_not(capsys) -> None:
    manual, flags = COMMANDS["evaluate"][2], FLAGS["evaluate"]
    with pytest.raises(ConfigError, match="^unknown section 'defnse'; did you mean 'defense'"):
        page(manual, flags, "x", ["--help-all", "defnse"])


@pytest.mark.parametrize("setting", KNOWN)
def test_names_of_registries_are_listed(setting: str) -> None:
    of = [flag for flags in FLAGS.values() for flag in flags if flag.known == tuple(KNOWN[setting])]
    assert of and all(flag.choices[:1] == of[0].known[:1] for flag in of)


def test_the_usual_help_lists_batteries_and_defenses() -> None:
    manual, flags = COMMANDS["evaluate"][2], FLAGS["evaluate"]
    said = page(manual, flags, "fftune evaluate", ["--help"])
    for name in ("risks", "second_opinion", "hedge_one_class", "smoothing", "FILE.py:NAME"):
        assert name in said


def test_defaults_are_shown_as_they_are_typed() -> None:
    shown = {8 / 255: "8/255", 0.5: "0.5", 0.2: "0.2", 5e-4: "0.0005", 120.0: "120"}
    assert {value: told_default(value) for value in shown} == shown
    assert told_default((0.0, 1.0)) == "0 1" and told_default(True) == "on"
    assert told_default(None) == told_default(False) == told_default(()) == ""


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_answers_before_anything_is_named(verb: str, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    main = importlib.import_module(f"fftune.cli.{verb}").main
    if verb == "data":
        main(["--help"])
    else:
        with pytest.raises(SystemExit) as stop:
            main(["--help"])
        assert stop.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith("usage: ") and said.count("\n") <= SCREEN
    assert max(map(len, said.splitlines())) < 80
    with pytest.raises(ConfigError, match="is missing"):
        main([])
