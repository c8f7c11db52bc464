"""The command line, `fftune VERB ...`: one file a verb; `options` holds what all verbs share."""

import sys
from importlib import import_module
from typing import NoReturn

from fftune.cli.verbs import VERBS

__all__ = ["main"]

USAGE = """usage: fftune VERB ...

{verbs}

fftune VERB --help tells more; fftune --version tells which fftune this is.
`python -m fftune.VERB` is the same as `fftune VERB`.

{everywhere}"""


def main() -> NoReturn:
    """Run `fftune VERB ...`, the same as `python -m fftune.VERB ...`."""
    from fftune import __version__
    from fftune.cli.options import EVERYWHERE, run

    arguments = sys.argv[1:]
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if verb in ("--version", "-V"):
        print(f"fftune {__version__}")
        sys.exit(0)
    if verb in ("", "-h", "--help"):
        verbs = "\n".join(f"  {name:10s}{verb.help}" for name, verb in VERBS.items())
        print(USAGE.format(verbs=verbs, everywhere=EVERYWHERE))
        sys.exit(0 if verb else 2)
    if verb not in VERBS:
        from fftune.registry import nearest

        print(f"fftune: unknown verb {verb!r}; {nearest(verb, VERBS)}", file=sys.stderr)
        sys.exit(2)
    run(import_module(f"fftune.cli.{verb}").main, rest)
