"""Arguments that several verbs share: a net with its data, and the defaults that data bring."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from fftune.cli.help_page import Manual
from fftune.cli.options import parse, parse_known, spelled_out
from fftune.config import ModelSpec, TrainConfig, read_settings
from fftune.errors import ConfigError, ModelError

C = TypeVar("C", bound=Any)
"""A dataclass with `data`, `threat`, `model` and `weights`, as that of `fftune evaluate`."""


@dataclass(frozen=True, kw_only=True)
class DataName:
    """`--data.name`, read before all else, as the sizes of splits follow from it."""

    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class WithData:
    """`--data.name` of a command."""

    data: DataName = field(default_factory=DataName)


@dataclass(frozen=True, kw_only=True)
class WithNet(WithData):
    """Data of a command, and the user's code of its net, which may be a checkpoint's."""

    model: str = ""


def parse_net(
    cls: type[C], arguments: Sequence[str], manual: Manual, *, prog: str
) -> tuple[C, ModelSpec]:
    """Parse a command about one net: CHECKPOINT, or `--model` with its data.

    Args:
        cls: the command, whose defaults follow a checkpoint's data and threat.
        manual: its help, and its short flags.

    Returns:
        The command, and its net, which may still have to be built for the data's images.

    Raises:
        ConfigError: neither is named, or both are, or the model is unknown.
        ModelError: there is no complete checkpoint, or it would run a file that `--model` or
            `--data` do not name.
    """
    flags = list(arguments)
    checkpoint = None if flags[0].startswith("-") else Path(flags.pop(0))
    if checkpoint is None:
        command = parse(cls, flags, prog=prog, default=cls(), manual=manual)
        if not command.model:
            raise ConfigError("model is missing: name a CHECKPOINT, or --model FILE.py:FUNCTION")
        from fftune.models.specs import named_spec

        return command, named_spec(command.model, command.weights)
    from fftune.models.specs import read_spec, with_named_code, with_named_data

    spec = read_spec(checkpoint)  # first, as defaults of a damaged checkpoint would be guesses
    config = read_settings(TrainConfig, checkpoint / "config.json", error=ModelError)
    named = parse_known(WithNet, spelled_out(flags, manual.short))
    spec = with_named_code(spec, checkpoint, named.model)
    data = with_named_data(config.data, checkpoint, named.data.name)
    default = replace(cls(), data=data, threat=config.attack.threat)
    command = parse(cls, flags, prog=prog, default=default, manual=manual)
    if command.weights:
        raise ConfigError("weights contradict CHECKPOINT: name one of them")
    return command, spec
