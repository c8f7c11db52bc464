"""Reference of the command line, rendered from the parsers: every verb's `--help` as Markdown."""

import contextlib
import io
import os
import re
import sys
from importlib import import_module

from fftune.errors import FftuneError

HEAD = """# The command line

`fftune VERB` and `python -m fftune.VERB` are the same. Results go to stdout, the log to stderr.
Exit codes: 0; 2 for a user's mistake (one line, no traceback); 1 for a failed run; 130 for Ctrl-C.

This page is made from the parsers when the documentation is built.
"""
PAGES = (
    ("train", ("thrm", "--help"), "Every other recipe has the same settings, with other defaults."),
    ("sweep", ("thrm", "--help"), "`trades` and files of your own have the same settings."),
    ("sweep", ("hedge", "--help"), ""),
    ("evaluate", ("--model", "FILE.py:FUNCTION", "--help"), "CHECKPOINT and STUDY take the same."),
    ("doctor", ("--model", "FILE.py:FUNCTION", "--help"), ""),
    ("report", ("--help",), ""),
    ("view", ("--help",), ""),
    ("reproduce", ("--help",), ""),
    ("data", ("list", "--help"), ""),
    ("data", ("write", "--help"), ""),
    ("data", ("verify", "--help"), ""),
)
"""A verb, the arguments that print its settings, and a remark."""
RULE = re.compile(r" -{20,}")
"""The line below a section's title."""


def reference() -> str:
    """The whole page."""
    parts, seen = [HEAD, fenced(printed("", ("fftune", "--help")))], set()
    for verb, arguments, remark in PAGES:
        if verb not in seen:
            seen.add(verb)
            parts += [f"## {verb}", fenced(printed(verb, ("--help",)))]
        named = " ".join((verb, *arguments[:-1]))
        if arguments != ("--help",):
            parts.append(f"### Settings of `{named}`")
        parts += [remark, settings(printed(verb, arguments))]
    return "\n\n".join(filter(None, parts)) + "\n"


def printed(verb: str, arguments: tuple[str, ...]) -> str:
    """The text that a verb prints for these arguments; `fftune` itself for an empty one."""
    out, columns, argv = io.StringIO(), os.environ.get("COLUMNS"), sys.argv
    os.environ["COLUMNS"] = "100"
    try:
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit, FftuneError):
            if verb:
                import_module(f"fftune.cli.{verb}").main(list(arguments))
            else:
                sys.argv = list(arguments)
                import_module("fftune.cli").main()
    finally:
        sys.argv = argv
        if columns is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = columns
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())


def fenced(text: str) -> str:
    """A block of plain text up to the settings, which follow as lists."""
    lines = [line.rstrip() for line in text.splitlines()]
    end = next((at - 1 for at, line in enumerate(lines) if RULE.fullmatch(line)), len(lines))
    return "```text\n" + "\n".join(lines[:end]).strip() + "\n```"


def settings(text: str) -> str:
    """A definition list of each section's flags: the flag, then its meaning and default."""
    lines = [line.rstrip() for line in text.splitlines()]
    starts = [at for at, line in enumerate(lines) if RULE.fullmatch(line)]
    parts: list[str] = []
    for at, end in zip(starts, [*(start - 1 for start in starts[1:]), len(lines)], strict=True):
        title = lines[at - 1].strip()
        if title not in ("options", "positional arguments"):
            parts.append(f"**{title}**")
        parts += _section(lines[at + 1 : end])
    return "\n\n".join(parts)


def _section(lines: list[str]) -> list[str]:
    """A section's sentence, if it has one, and its flags."""
    parts: list[str] = []
    for line in lines:
        content = line.strip()
        if not content or set(content) == {"-"}:
            continue
        begins = re.match(r"  (-|\[)", line)
        if begins:
            flag, _, meaning = re.sub(r"\s{2,}", "\0", content, count=1).partition("\0")
            parts.append(f"`{flag}`\n: {meaning}".rstrip())
        elif parts:
            parts[-1] += f" {content}"
        else:
            parts.append(content)
    return parts
