"""The command line that trains a net with given settings."""

from collections.abc import Iterator
from functools import cache
from shlex import quote
from typing import Any, get_args

from fftune.cli.train import parsed
from fftune.config import TrainConfig, flat
from fftune.errors import ConfigError
from fftune.recipes import Scale


def train_command(config: TrainConfig) -> str:
    """`fftune train ...` for a training, by the scale that needs the fewest flags.

    Returns:
        A command that was parsed, and gave these settings; empty where none does.
    """
    candidates = [
        ["--scale", scale, *_flags(config, usual)]
        for scale in get_args(Scale)
        if (usual := _usual(config.objective, scale)) is not None
    ]
    for flags in sorted(candidates, key=len):
        if _gives([config.objective, *flags], config):
            return " ".join(["fftune train", *map(quote, (config.objective, *flags))])
    return ""


@cache
def _usual(objective: str, scale: str) -> TrainConfig | None:
    """Settings of a recipe; None where it does not exist at this scale."""
    try:
        command = parsed([objective, "--scale", scale])
    except ConfigError:
        return None
    return command.config


def _flags(config: TrainConfig, usual: TrainConfig) -> Iterator[str]:
    """Flags of the settings that differ."""
    was = flat(usual)
    for path, value in flat(config).items():
        if was.get(path, value) != value or path not in was:
            yield from _flag(path.replace("_", "-"), value)


def _flag(path: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        head, _, last = path.rpartition(".")
        return [f"--{path}" if value else f"--{head}{'.' if head else ''}no-{last}"]
    if isinstance(value, tuple):
        return [f"--{path}", *map(str, value)]
    return [f"--{path}", repr(value) if isinstance(value, float) else str(value)]


def _gives(arguments: list[str], config: TrainConfig) -> bool:
    try:
        command = parsed(arguments)
    except ConfigError:
        return False
    return command.config == config
