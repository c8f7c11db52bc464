"""The command line, `fftune VERB ...`: one file a verb; `options` holds what all verbs share."""

import sys
from importlib import import_module
from typing import NoReturn

from fftune.cli.verbs import FLAGS, VERBS
from fftune.errors import ConfigError

__all__ = ["main"]

USAGE = """usage: {spoken} VERB ...

{verbs}

begin with:
  {typed} data list
  {typed} train thrm --name first
  {typed} evaluate first --examples 200

{spoken} VERB --help tells what is used most, --help-all all.
--version: which fftune this is
--print-completion bash|zsh|fish: a script that lets the shell complete"""


def main() -> NoReturn:
    """Run `fftune VERB ...`, the same as `python -m fftune.VERB ...`."""
    from fftune.cli.edge import leave

    leave(_main)


def _main() -> None:
    arguments = sys.argv[1:]
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if verb in VERBS:
        from fftune.cli.options import run

        run(import_module(f"fftune.cli.{verb}").main, rest)
    elif verb in ("--version", "-V"):
        from fftune import __version__

        print(f"fftune {__version__}")
    elif verb == "--print-completion":
        from fftune.cli.completion import script

        print(script(rest[0] if rest else ""), end="")
    elif verb in ("", "-h", "--help", "--help-all", "help"):
        print(usage())
        if not verb:
            raise SystemExit(2)
    else:
        from fftune.registry import nearest

        kind, known = ("flag", FLAGS) if verb.startswith("-") else ("verb", tuple(VERBS))
        raise ConfigError(f"unknown {kind} {verb!r}; {nearest(verb, known)}")


def usage(begin: str = "") -> str:
    """The help of the command itself.

    Args:
        begin: the command in examples; empty: as it was typed.
    """
    from fftune.cli.help_page import EVERYWHERE, listed, wrapped
    from fftune.invocation import spoken, typed

    verbs = "\n".join(listed({name: verb.help for name, verb in VERBS.items()}))
    text = USAGE.format(spoken=spoken(""), typed=begin or typed(""), verbs=verbs)
    return "\n".join([text, "", *wrapped(EVERYWHERE)])
