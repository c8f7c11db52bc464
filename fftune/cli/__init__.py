"""The command line, `fftune VERB ...`: one file a verb; `options` holds what all verbs share."""

import sys
from importlib import import_module
from typing import NoReturn

from fftune.cli.verbs import VERBS
from fftune.errors import ConfigError

__all__ = ["main"]

USAGE = """usage: fftune VERB ...

{verbs}

fftune VERB --help tells more; fftune --version tells which fftune this is.
`python -m fftune.VERB` is the same as `fftune VERB`.

{everywhere}"""


def main() -> NoReturn:
    """Run `fftune VERB ...`, the same as `python -m fftune.VERB ...`."""
    from fftune.cli.edge import leave

    leave(_main)


def _main() -> None:
    from fftune.cli.options import EVERYWHERE, run

    arguments = sys.argv[1:]
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if verb in ("--version", "-V"):
        from fftune import __version__

        print(f"fftune {__version__}")
    elif verb in ("", "-h", "--help"):
        verbs = "\n".join(f"  {name:10s}{verb.help}" for name, verb in VERBS.items())
        print(USAGE.format(verbs=verbs, everywhere=EVERYWHERE))
        if not verb:
            raise SystemExit(2)
    elif verb not in VERBS:
        from fftune.registry import nearest

        raise ConfigError(f"unknown verb {verb!r}; {nearest(verb, VERBS)}")
    else:
        run(import_module(f"fftune.cli.{verb}").main, rest)
