"""Arguments that several verbs share: a net with its data, and the defaults that data bring."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from fftune.cli.options import parse, parse_known, spelled_out
from fftune.config import ModelSpec, TrainConfig, read_settings, require
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
    cls: type[C], arguments: Sequence[str], short: Mapping[str, str], *, prog: str
) -> tuple[C, ModelSpec]:
    """Parse a command about one net: CHECKPOINT, or `--model` with its data.

    Args:
        cls: the command, whose defaults follow a checkpoint's data and threat.
        short: long flags by the short ones that stand for them.

    Returns:
        The command, and its net, which may still have to be built for the data's images.

    Raises:
        ConfigError: neither is named, or both are, or the model is unknown.
        ModelError: there is no complete checkpoint, or it would run a file that `--model` or
            `--data` do not name.
    """
    flags = _checkpoint_first(spelled_out(arguments, short))
    checkpoint = None if flags[0].startswith("-") else Path(flags.pop(0))
    if checkpoint is None:
        command = parse(cls, flags, prog=prog, default=cls())
        if not command.model:
            raise ConfigError("model is missing: name a CHECKPOINT, or --model FILE.py:FUNCTION")
        from fftune.models.specs import named_spec

        options = {"weights_key": command.weights_key, "normalize": command.normalize}
        return command, named_spec(command.model, command.weights, **options)
    from fftune.models.specs import read_spec, with_named_code, with_named_data

    spec = read_spec(checkpoint)  # first, as defaults of a damaged checkpoint would be guesses
    config = read_settings(TrainConfig, checkpoint / "config.json", error=ModelError)
    named = parse_known(WithNet, flags)
    spec = with_named_code(spec, checkpoint, named.model)
    data = with_named_data(config.data, checkpoint, named.data.name)
    default = replace(cls(), data=data, threat=config.attack.threat)
    command = parse(cls, flags, prog=prog, default=default)
    if command.weights:
        raise ConfigError("weights contradict CHECKPOINT: name one of them")
    for name in ("weights_key", "normalize"):
        value = getattr(command, name)
        require(name, not value, "left out for a CHECKPOINT, which has its own", value)
    return command, spec


def _checkpoint_first(flags: list[str]) -> list[str]:
    """The flags with a checkpoint that `--model` names in its own place, before all."""
    named = [i for i, flag in enumerate(flags) if flag.partition("=")[0] == "--model"]
    if len(named) != 1 or not flags[0].startswith("-"):
        return flags
    at = named[0]
    _, equals, place = flags[at].partition("=")
    taken = 1 if equals else 2
    place = place if equals else "".join(flags[at + 1 : at + 2])
    if not place or not (Path(place) / "model.json").is_file():
        return flags
    return [place, *flags[:at], *flags[at + taken :]]
