"""Arguments that several verbs share: nets with their data, and the defaults that these bring."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from fftune.cli.checkpoints import checkpoints_of, with_variants
from fftune.cli.help_page import Manual, help_is_asked
from fftune.cli.options import parse, parse_known, spelled_out
from fftune.config import ModelSpec, TrainConfig, flat, read_settings, require
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
    """Data of a command, the user's code of its nets, and where they are looked for by name."""

    model: str = ""
    storage: str | None = None
    variants: bool = False


def parse_nets(
    cls: type[C], arguments: Sequence[str], manual: Manual, *, prog: str
) -> tuple[C, dict[str, ModelSpec]]:
    """Parse a command about nets: checkpoints, runs and studies, or `--model` with its data.

    Args:
        cls: the command, whose defaults follow the checkpoints' data and threat.
        manual: its help, and its short flags.

    Returns:
        The command, and its nets by name, which may still have to be built for the data's images.

    Raises:
        ConfigError: none is named, or both are, or the model is unknown; or the nets were trained
            on other data or for another threat than each other, and no flag says which counts.
        ModelError: there is no complete checkpoint, or it would run a file that `--model` or
            `--data` do not name.
    """
    flags = _checkpoint_first(spelled_out(arguments, manual.short))
    named = []
    while flags and not flags[0].startswith("-"):
        named.append(flags.pop(0))
    if not named:
        if not (flags or help_is_asked(flags)):
            raise ConfigError("CHECKPOINT is missing, and so is --model; --help tells more")
        command = parse(cls, flags, prog=prog, default=cls(), manual=manual)
        if not command.model:
            raise ConfigError("model is missing: name a CHECKPOINT, or --model FILE.py:FUNCTION")
        from fftune.models.specs import named_spec

        options = {"weights_key": command.weights_key, "normalize": command.normalize}
        spec = named_spec(command.model, command.weights, **options)
        return command, {spec.label: spec}
    found = parse_known(WithNet, flags)
    checkpoints = checkpoints_of(named, found.storage)
    if found.variants:
        checkpoints = with_variants(checkpoints)
    from fftune.models.specs import read_spec, with_named_code

    specs = {  # first, as the defaults of a damaged checkpoint would be guesses
        name: with_named_code(read_spec(path), path, found.model)
        for name, path in checkpoints.items()
    }
    commands = {
        path: parse(cls, flags, prog=prog, default=default, manual=manual)
        for path, default in _defaults(cls, [*checkpoints.values()], found).items()
    }
    _refuse_several(commands)
    command = next(iter(commands.values()))
    if command.weights:
        raise ConfigError("weights contradict CHECKPOINT: name one of them")
    for name in ("weights_key", "normalize"):
        value = getattr(command, name)
        require(name, not value, "left out for a CHECKPOINT, which has its own", value)
    return command, specs


def _checkpoint_first(flags: list[str]) -> list[str]:
    """The flags with a checkpoint that `--model` names in its own place, before all."""
    named = [i for i, flag in enumerate(flags) if flag.partition("=")[0] == "--model"]
    if len(named) != 1 or not flags[0].startswith("-"):
        return flags
    at = named[0]
    _, equals, place = flags[at].partition("=")
    taken = 1 if equals else 2
    place = place if equals else "".join(flags[at + 1 : at + 2])
    from fftune.models.variants import checkpoint_at

    if not place or checkpoint_at(place) is None:
        return flags
    return [place, *flags[:at], *flags[at + taken :]]


def _defaults(cls: type[C], folders: Sequence[Path], found: WithNet) -> dict[Path, C]:
    """The command with the data and the threat of checkpoints; equal ones once."""
    from fftune.models.specs import with_named_data

    every: dict[Path, C] = {}
    for folder in folders:
        config = read_settings(TrainConfig, folder / "config.json", error=ModelError)
        data = with_named_data(config.data, folder, found.data.name)
        default = replace(cls(), data=data, threat=config.attack.threat)
        if default not in every.values():
            every[folder] = default
    return every


def _refuse_several(commands: Mapping[Path, Any]) -> None:
    """Refuse nets of other data or another threat where the flags do not say what counts.

    Raises:
        ConfigError: the message names two nets and what differs.
    """
    (first, one), *others = commands.items()
    for path, other in others:
        for part in ("data", "threat"):
            ours, theirs = getattr(one, part), getattr(other, part)
            if ours != theirs:
                was, now = flat(ours), flat(theirs)
                what = ", ".join(
                    f"{part}.{k} {was[k]} and {v}" for k, v in now.items() if v != was[k]
                )
                raise ConfigError(
                    f"nets {str(first)!r} and {str(path)!r} were trained with {what}: name "
                    f"{'--data' if part == 'data' else '--eps and --norm'}, for all of them"
                )
