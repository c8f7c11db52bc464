"""Help of a command: what is used most on one screen, all by sections."""

import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from textwrap import wrap

from fftune.cli.flags import Flag, first_sentence
from fftune.errors import ConfigError
from fftune.registry import nearest

HELP, ALL = ("-h", "--help"), "--help-all"
LOG_LEVELS = "debug|info|warning|error"
EVERYWHERE = (
    f"every verb: --quiet (warnings alone), --log-level {LOG_LEVELS}, "
    "--code FILE.py (to run where a study or a zoo names it), --offline (as always)"
)
EVERY_FLAG = ("--help", ALL, "--quiet", "--log-level", "--code", "--offline")
"""Flags of every command."""
OWN = ", FILE.py:NAME"
LISTED = "`fftune data list`"
"""List of names to which `--help` leaves a meaning that mentions it."""
FIRST = 6
"""Settings that are shown before a recipe is named."""
COLUMN = 26
"""Characters of the column of flags; longer ones have their meaning on the next line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manual:
    """Texts of a command's help beside its flags."""

    usage: tuple[str, ...]
    """Words after the command, one text for each form that it has."""
    about: str
    """Sentences on the work of the command."""
    usual: tuple[str, ...] = ()
    """Flags that are used most, by any of their names, in the order of `--help`; empty: all."""
    short: Mapping[str, str] = field(default_factory=dict)
    """Long flags by the short ones that stand for them."""
    before: str = ""
    """Text above the flags, already in lines."""
    more: str = ""
    """Text below the flags, already in lines."""


def with_recipes(manual: Manual, recipes: Mapping[str, str], shown: str) -> Manual:
    """The help of a verb before its recipe is named.

    Args:
        recipes: what each is, by its name.
        shown: the recipe whose defaults are shown.
    """
    lines = "\n".join(listed(recipes))
    return replace(
        manual,
        usage=tuple(f"RECIPE {words}" for words in manual.usage),
        before=f"recipes:\n{lines}\n\nsettings, with the defaults of {shown}:",
        usual=manual.usual[:FIRST],
    )


def listed(texts: Mapping[str, str]) -> list[str]:
    """Lines of a list of names, each with its text in a column of its own."""
    wide, lines = max(map(len, texts)) + 4, []
    for name, text in texts.items():
        first = f"  {name}".ljust(wide)
        lines += wrap(text, terminal_width(), initial_indent=first, subsequent_indent=" " * wide)
    return lines


def help_is_asked(arguments: Sequence[str]) -> bool:
    """Help is asked for."""
    return any(word in (*HELP, ALL) for word in arguments)


def page(manual: Manual, flags: Sequence[Flag], command: str, arguments: Sequence[str]) -> str:
    """The help that was asked for: the usual flags, all, or those of one section.

    Args:
        command: the command as it is typed, as in `fftune sweep thrm`.
        arguments: those of the command line.

    Raises:
        ConfigError: there is no such section; the nearest is named.
    """
    width = terminal_width()
    if ALL not in arguments:
        return _usual_page(manual, flags, command, width)
    given = arguments[arguments.index(ALL) + 1 :]
    if given and not given[0].startswith("-"):
        return _sections(_of_section(flags, given[0]), width)
    parts = [_head(manual, command, width), _sections(flags, width), *wrapped(EVERYWHERE, width)]
    return "\n".join(parts)


def _usual_page(manual: Manual, flags: Sequence[Flag], command: str, width: int) -> str:
    by_name = {name: flag for flag in flags for name in flag.names}
    chosen = [by_name[name] for name in manual.usual] or flags
    lines = [line for flag in chosen for line in entry(flag, width, brief=True)]
    sections = dict.fromkeys(flag.section for flag in flags)
    inside = {name for name in sections if name.rpartition(".")[0] in sections}
    rest = ", ".join(name for name in sections if name not in inside)
    all_of = f"all {len(flags)} settings: {ALL}, or by section {ALL} SECTION: {rest}"
    foot = [*wrapped(EVERYWHERE, width), *wrapped(all_of, width)]
    return "\n".join([_head(manual, command, width), *lines, "", *_block(manual.more), *foot])


def _head(manual: Manual, command: str, width: int) -> str:
    lines = []
    for at, words in enumerate(manual.usage):
        lead = "usage: " if at == 0 else "       "
        indent = " " * (len(lead) + 4)
        words = re.sub(r"\[[^]]*\]", lambda found: found[0].replace(" ", "\0"), words)
        lines += wrap(f"{lead}{command} {words}".rstrip(), width, subsequent_indent=indent)
    lines = [line.replace("\0", " ") for line in lines]
    return "\n".join([*lines, "", *wrapped(manual.about, width), "", *_block(manual.before)])


def _block(text: str) -> list[str]:
    return [text.strip("\n"), ""] if text else []


def _sections(flags: Iterable[Flag], width: int) -> str:
    """Flags below the names of their sections."""
    sections: dict[str, list[Flag]] = {}
    for flag in flags:
        sections.setdefault(flag.section, []).append(flag)
    lines: list[str] = []
    for name, members in sections.items():
        about = next((flag.about for flag in members if flag.about), "")
        title = wrapped(f"{name}: {about}" if about else name, width)
        lines += [title[0].replace(name, _bold(name), 1), *title[1:]]
        lines += [line for flag in members for line in entry(flag, width)]
        lines.append("")
    return "\n".join(lines)


def _of_section(flags: Sequence[Flag], name: str) -> list[Flag]:
    """Flags of a section and of those inside it."""
    found = [flag for flag in flags if f"{flag.section}.".startswith(f"{name}.")]
    found = found or [flag for flag in flags if flag.section.endswith(f".{name}")]
    if not found:
        known = {flag.section for flag in flags}
        raise ConfigError(f"unknown section {name!r}; {nearest(name, known)}")
    return found


def entry(flag: Flag, width: int, *, brief: bool = False) -> list[str]:
    """Lines on a flag: its names and value, then its meaning in a column of its own.

    Args:
        brief: the first sentence of the meaning alone, and the shortest of the names.
    """
    names = invocation(flag, brief=brief)
    text = first_sentence(flag.meaning) if brief else flag.meaning
    listed = (brief and LISTED in text) or all(f"`{name}`" in text for name in flag.known)
    if flag.known and not listed:
        text += f" Known: {', '.join(flag.known)}{OWN}."
    if flag.default:
        text += f" (default: {flag.default})"
    indent = " " * (COLUMN + 2)
    lines = wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
    if len(names) <= COLUMN - 2 and lines:
        lines[0] = f"  {_bold(names)}{' ' * (COLUMN - len(names))}{lines[0][COLUMN + 2 :]}"
        return lines
    return [f"  {_bold(names)}", *lines]


def invocation(flag: Flag, *, brief: bool = False) -> str:
    """A flag as it is typed, as in `--data, --data.name NAME` or `--[no-]clamp`."""
    names = list(flag.names[:1] if brief else flag.names)
    if flag.kind is bool and flag.default:
        path, dot, last = names[-1].lstrip("-").rpartition(".")
        names[-1] = f"--{path}{dot}[no-]{last}"
    return f"{', '.join(names)} {flag.value}".rstrip()


def wrapped(text: str, width: int | None = None) -> list[str]:
    """Paragraphs in lines of a width, that of the terminal by itself."""
    width = width or terminal_width()
    return [
        line for part in text.split("\n\n") for line in wrap(part, width, break_on_hyphens=False)
    ]


def terminal_width() -> int:
    """Characters of a line: one fewer than the terminal has, within reason."""
    return min(max(shutil.get_terminal_size().columns, 60), 160) - 1


def _bold(text: str) -> str:
    """The text in bold, on a terminal that has it."""
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ
    return text if plain or os.environ.get("TERM") == "dumb" else f"\x1b[1m{text}\x1b[0m"
