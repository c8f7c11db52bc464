"""The command line: `fftune <verb>`, and what all verbs share.

stdout carries results, stderr the log. Exit codes: 0, 2 for the user's mistake (one line, no
traceback), 1 for a defect or a failed run, 130 when interrupted.
"""

import contextlib
import importlib
import io
import logging
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, NoReturn, TypeVar

from fftune.allocator import keep_freed
from fftune.config import nearest, with_norms_of
from fftune.errors import ConfigError, FftuneError

VERBS = {
    "data": "list, write and verify data sets",
    "train": "train one net, as published or at a smaller scale",
    "sweep": "train a front of models, natural against hypocritical risk",
    "evaluate": "attack a net, and count what was fooled and what was concealed",
    "doctor": "tell a robust net from one that hides its gradients, and check the evaluation",
    "report": "lay the fronts of finished studies side by side",
}

AGAIN = {
    "data": "run it again: no half-written file was left",
    "train": "the same command with --resume goes on",
    "sweep": "the same command with --resume goes on",
    "evaluate": "run it again: finished blocks are kept",
    "doctor": "run it again: it starts anew",
    "report": "run it again: the studies are as they were",
}
"""What to do after Ctrl-C."""

T = TypeVar("T")


def main() -> NoReturn:
    """`fftune <verb> ...`, the same as `python -m fftune.<verb> ...`."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        verbs = "\n".join(f"  {name:10s}{what}" for name, what in VERBS.items())
        print(f"usage: fftune VERB ...\n\n{verbs}\n\nfftune VERB --help tells more.")
        sys.exit(0 if arguments else 2)
    verb, *rest = arguments
    if verb not in VERBS:
        print(f"fftune: no verb {verb!r}; {nearest(verb, VERBS)}", file=sys.stderr)
        sys.exit(2)
    run(importlib.import_module(f"fftune.cli.{verb}").main, rest)


def run(command: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> NoReturn:
    """Run a verb to its exit code."""
    log = logging.StreamHandler(sys.stderr)
    log.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log.addFilter(_only_ours)
    logging.basicConfig(handlers=[log], level=logging.INFO)
    signal.signal(signal.SIGTERM, _interrupt)  # how `ray job stop` asks
    keep_freed()
    try:
        command(arguments)
    except FftuneError as error:
        print(f"fftune: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        verb = command.__module__.split(".")[2]  # of fftune.cli.<verb>
        print(f"fftune: interrupted; {AGAIN[verb]}", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)


def parse(
    cls: Callable[..., T], arguments: Sequence[str], *, prog: str, default: T | None = None
) -> T:
    """Build `cls` from flags; the flags' defaults are `default`'s values.

    A ball whose norm a flag changes has that norm's own radius, unless another flag says it.

    Raises:
        ConfigError: a flag is unknown (the nearest is named), or a value is of the wrong type
            or out of range. The message names the setting's full path.
        SystemExit: 0, after `--help`.
    """
    import tyro

    options: dict[str, Any] = {} if default is None else {"default": default}
    with _one_line(arguments):
        parsed: T = tyro.cli(cls, args=list(arguments), prog=prog, **options)
        if default is not None and (moved := with_norms_of(parsed, default)) != default:
            parsed = tyro.cli(
                cls, args=list(arguments), prog=prog, **(options | {"default": moved})
            )
    return parsed


def parse_known(cls: Callable[..., T], arguments: Sequence[str]) -> T:
    """Build `cls` from those flags that it knows; the others are left to a later `parse`."""
    import tyro

    with _one_line(arguments):
        known, _ = tyro.cli(cls, args=list(arguments), return_unknown_args=True, add_help=False)
    return known


def spelled_out(arguments: Sequence[str], short: Mapping[str, str]) -> list[str]:
    """The arguments with short flags, as in `--data NAME`, made the long ones they stand for."""
    long = []
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        long.append(short.get(flag, flag) + equals + value)
    return long


@contextlib.contextmanager
def _one_line(arguments: Sequence[str]) -> Iterator[None]:
    """Turn tyro's boxes of complaint into one `ConfigError`."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            yield
    except ConfigError as error:
        raise ConfigError(_with_path(str(error), arguments)) from None
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ConfigError(_with_path(_unboxed(said.getvalue()), arguments)) from None


def _unboxed(box: str) -> str:
    """The first paragraph of a box, drawn in Unicode or in ASCII, and what it offers instead."""
    title, *body = box.splitlines()
    lines = [line.strip("│╰╯ ") for line in (body if title[0] == "╭" else body[1:])]
    rule = next((i for i, line in enumerate(lines) if re.match("──|---", line)), len(lines))
    what = " ".join(filter(None, lines[:rule]))
    # "Error parsing config.battery: steps must be ..." keeps its rule, "--trials: ..." its flag.
    what = re.sub(r"^Error parsing (?:[^-][^:]*: )?", "", what)
    offers = [m[0] for line in lines[rule:] if (m := re.match(r"--\w[\w.-]*", line))]
    subcommands = next((line for line in lines[rule:] if line.startswith("Available ")), "")
    unknown = what.startswith("Unrecognized") and offers
    hint = f"; did you mean {' or '.join(dict.fromkeys(offers))}?" if unknown else ""
    return what.rstrip(".") + hint + (f"; {subcommands}" if subcommands else "")


def _with_path(message: str, arguments: Sequence[str]) -> str:
    """The message with its leading setting in full, as in `base.attack.steps must be >= 0`.

    A recipe is valid, so the value at fault came from a flag: the one that ends in its name.
    """
    setting, _, rest = message.partition(" ")
    flags = [a[2:].partition("=")[0].replace("-", "_") for a in arguments if a.startswith("--")]
    paths = {flag for flag in flags if flag.rpartition(".")[2] == setting}
    return f"{paths.pop()} {rest}" if len(paths) == 1 else message


def _only_ours(record: logging.LogRecord) -> bool:
    """Libraries speak from warnings up; fftune from info up."""
    return record.name.startswith("fftune") or record.levelno >= logging.WARNING


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
