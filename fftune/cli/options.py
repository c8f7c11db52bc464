"""Log, progress and flags of all verbs; flags become settings.

stdout carries results, stderr the log. Exit codes are those of `fftune.cli.edge`.
"""

import contextlib
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import getdoc
from typing import Any, Literal, NoReturn, TypeVar, get_args

from fftune.allocator import keep_freed
from fftune.cli.edge import leave
from fftune.cli.flags import flags_of
from fftune.cli.help_page import EVERY_FLAG, Manual, help_is_asked, page
from fftune.cli.idle import refuse_idle
from fftune.cli.silence import broken
from fftune.cli.verbs import VERBS
from fftune.config import nearest, require, with_norms_of
from fftune.config.validation import require_usable, require_words
from fftune.errors import ConfigError
from fftune.hardware import CardName
from fftune.invocation import spoken
from fftune.named_code import within
from fftune.progress import Lines, LogHandler, display_for, show_on

LogLevel = Literal["debug", "info", "warning", "error"]
LEVELS: tuple[LogLevel, ...] = get_args(LogLevel)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """Question for the cost of a command, which then does nothing."""

    dry_run: bool = False
    """Print settings and cost, and stop. Costs are told in passes and in hours."""
    on: CardName | None = None
    """Card of which `--dry-run` tells the hours, wherever it is; default the device at hand."""
    cards: int | None = None
    """Number of these cards, >= 1; default one, two, four and eight."""

    def __post_init__(self) -> None:
        require_words(self)
        require("cards", self.cards is None or self.cards >= 1, ">= 1", self.cards)


def run(command: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> NoReturn:
    """Run a verb to its exit code, as `fftune.cli.edge` has them, and end the process by it."""
    leave(partial(perform, command, arguments), again_of(command))


def again_of(command: Callable[[Sequence[str]], None]) -> str:
    """Words on how to go on with a verb that was interrupted; of no verb: run it again."""
    verb = command.__module__.removeprefix("fftune.cli.")
    return VERBS[verb].again if verb in VERBS else "run it again"


def perform(command: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> None:
    """Set up the log, and do what a verb is asked, never in silence for long."""
    keep_freed()
    rest, log = _set_up_log(arguments)
    with broken(log):
        as_named(command, rest)


def as_named(command: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> None:
    """Do what a verb is asked, and run no file of Python's that its arguments do not name.

    Raises:
        ConfigError: `--code` comes without a file.
    """
    rest, files = _without_code(arguments)
    for file in files:
        require("code", file.endswith(".py"), "a FILE.py", file)
    within(arguments, lambda: command(rest))


def _without_code(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The other arguments, and the values of `--code`."""
    rest, files, left = [], [], list(arguments)
    while left:
        flag, equals, value = (argument := left.pop(0)).partition("=")
        if flag == "--code":
            files.append(value if equals else left.pop(0) if left else "")
        else:
            rest.append(argument)
    return rest, files


def require_dry_run(asked: DryRun) -> None:
    """Refuse the flags of `--dry-run` without it.

    Raises:
        ConfigError: the message names the flag.
    """
    for flag in ("on", "cards"):
        given = getattr(asked, flag) is not None
        require(
            flag, asked.dry_run or not given, "left out without --dry-run", getattr(asked, flag)
        )


def announce_imports() -> None:
    """Log that a verb is at work, before torch and others take seconds to import."""
    logging.getLogger("fftune.cli").info("loading libraries")


def _set_up_log(arguments: Sequence[str]) -> tuple[list[str], LogHandler]:
    """Take the flags of every verb out of the arguments, and do as they say.

    Returns:
        The other arguments, and what writes the log.

    Raises:
        ConfigError: the level is unknown or missing, or contradicts `--quiet`.
    """
    log = LogHandler()
    log.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log.addFilter(_only_ours)
    logging.basicConfig(handlers=[log], level=logging.INFO)
    rest, quiet, levels = _without_log_flags(arguments)
    for level in levels:
        if level not in LEVELS:
            raise ConfigError(
                f"log-level must be one of {', '.join(LEVELS)}, got {level!r}; "
                f"{nearest(level, LEVELS)}"
            )
    if quiet and levels:
        raise ConfigError("quiet contradicts log-level: name one of them")
    level = "warning" if quiet else (levels or ["info"])[-1]
    logging.getLogger("fftune").setLevel(level.upper())
    show_on(Lines() if quiet else display_for(sys.stderr))
    return rest, log


def _without_log_flags(arguments: Sequence[str]) -> tuple[list[str], bool, list[str]]:
    """The other arguments, without `--offline`; whether to be quiet; the levels that were named."""
    rest, levels, left = [], [], list(arguments)
    quiet = False
    while left:
        flag, equals, value = (argument := left.pop(0)).partition("=")
        if argument == "--quiet":
            quiet = True
        elif argument == "--offline":
            continue  # no verb downloads anything
        elif flag in ("--log-level", "--log_level"):
            levels.append(value if equals else left.pop(0) if left else "")
        else:
            rest.append(argument)
    return rest, quiet, levels


def parse(
    cls: Callable[..., T],
    arguments: Sequence[str],
    *,
    prog: str,
    default: T | None = None,
    manual: Manual | None = None,
) -> T:
    """Build `cls` from flags; the flags' defaults are `default`'s values.

    A ball whose norm a flag changes has that norm's own radius, unless another flag says it.

    Args:
        prog: the verb, and what came before its flags, as in `sweep thrm`.
        manual: what help says of the command, and its short flags.

    Raises:
        ConfigError: a flag is unknown (the nearest is named), or a value is of the wrong type
            or out of range. The message names the setting's full path.
        SystemExit: 0, after help.
    """
    manual = manual or Manual(usage=("[--SETTING VALUE ...]",), about=getdoc(cls) or "")
    if help_is_asked(arguments):
        command = spoken(*prog.split())
        print(page(manual, flags_of(cls, default, manual.short), command, arguments))
        raise SystemExit(0)
    import tyro

    from fftune.cli.tyro_rules import NUMBERS

    words = spelled_out(arguments, manual.short)
    options: dict[str, Any] = {"prog": prog} | ({} if default is None else {"default": default})
    with _one_line(cls, words, manual.short), NUMBERS:
        parsed: T = tyro.cli(cls, args=words, **options)
        if default is not None and (moved := with_norms_of(parsed, default)) != default:
            parsed = tyro.cli(cls, args=words, **(options | {"default": moved}))
        require_usable("", parsed)
        if default is not None:
            refuse_idle(parsed, moved)
    return parsed


def parse_known(cls: Callable[..., T], arguments: Sequence[str]) -> T:
    """Build `cls` from those flags that it knows; the others are left to a later `parse`."""
    import tyro

    from fftune.cli.tyro_rules import NUMBERS

    with _one_line(cls, arguments, {}), NUMBERS:
        known, _ = tyro.cli(cls, args=list(arguments), return_unknown_args=True, add_help=False)
    return known


def spelled_out(arguments: Sequence[str], short: Mapping[str, str]) -> list[str]:
    """The arguments with short flags, as in `--data NAME`, made the long ones they stand for."""
    long = []
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        long.append(short.get(flag.replace("_", "-"), flag) + equals + value)
    return long


@contextlib.contextmanager
def _one_line(
    cls: Callable[..., Any], arguments: Sequence[str], short: Mapping[str, str]
) -> Iterator[None]:
    """Turn what tyro refuses into a `ConfigError` of one line, whatever the terminal is."""
    from fftune.cli.tyro_rules import refusals

    try:
        with refusals(partial(_names, cls, short), arguments):
            yield
    except ConfigError as error:
        raise ConfigError(_with_path(str(error), arguments)) from None


def _names(cls: Callable[..., Any], short: Mapping[str, str]) -> list[str]:
    """Every flag of a command, those of all commands included."""
    names = [name for flag in flags_of(cls, None, short) for name in flag.names]
    return [*(name for name in names if name.startswith("--")), *EVERY_FLAG]


def _with_path(message: str, arguments: Sequence[str]) -> str:
    """The message with its leading setting in full, as in `base.attack.steps must be >= 0`.

    A recipe is valid, so the value at fault came from a flag: the one that ends in its name, and of
    several, as `--data.name` and `--battery.name`, the one whose value the message repeats.
    """
    setting, _, rest = message.partition(" ")
    words = re.split(r"[\s',;]+", rest)
    paths: dict[str, bool] = {}
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=False):
        flag, equals, value = argument.partition("=")
        path = flag[2:].replace("-", "_")
        if argument.startswith("--") and path.rpartition(".")[2] == setting:
            paths[path] = (value if equals else following) in words
    if len(paths) > 1:
        paths = {path: True for path, repeated in paths.items() if repeated}
    return f"{next(iter(paths))} {rest}" if len(paths) == 1 else message


def _only_ours(record: logging.LogRecord) -> bool:
    """Libraries speak from warnings up; fftune as `--log-level` says."""
    return record.name.startswith("fftune") or record.levelno >= logging.WARNING
