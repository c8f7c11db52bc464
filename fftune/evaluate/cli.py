"""`python -m fftune.evaluate CHECKPOINT --battery NAME ...`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from fftune.cli import parse, spelled_out
from fftune.config import (
    BatteryConfig,
    DataSpec,
    DefenseConfig,
    ModelSpec,
    Split,
    ThreatModel,
    TrainConfig,
    from_json,
)
from fftune.errors import ConfigError

USAGE = """usage: python -m fftune.evaluate CHECKPOINT [--battery NAME] [--defense NAME ...]
                                             [--SETTING VALUE ...]
       python -m fftune.evaluate --model FILE.py:FUNCTION [--weights FILE] --data NAME ...

CHECKPOINT is the folder of a trained net; its data and threat are the defaults.
`python -m fftune.evaluate --model FILE.py:FUNCTION --help` lists every setting."""

SHORT = {
    "--battery": "--battery.name",
    "--defense": "--defense.names",
    "--data": "--data.name",
    "--examples": "--battery.examples",
    "--tier": "--battery.tier",
    "--device": "--battery.device",
}


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Attack a net with a battery; print what the attacks came to, and keep the rows."""

    battery: BatteryConfig = field(default_factory=BatteryConfig)
    data: DataSpec = field(default_factory=DataSpec)
    threat: Annotated[ThreatModel, tyro.conf.arg(name="")] = field(default_factory=ThreatModel)
    defense: DefenseConfig = field(default_factory=DefenseConfig)
    split: Split = "test"
    model: str = ""
    """`path/to/file.py:FUNCTION` of your own net, which takes images in [0, 1]; a further
    `:NAME` is passed to the function."""
    weights: str = ""
    """Its state_dict, where the function does not load it."""
    rows: str | None = None
    """Parquet file for the rows; default in the folder of results."""
    storage: str | None = None
    """The folder of results; default `FFTUNE_STORAGE`, else one in the home folder."""


C = TypeVar("C", bound=Any)
"""A dataclass with `data`, `threat`, `model` and `weights`, as `Evaluate` has them."""


def main(arguments: Sequence[str]) -> None:
    """Parse, attack, print, write."""
    if not arguments or list(arguments) in (["-h"], ["--help"]):
        print(USAGE)
        if not arguments:
            raise ConfigError("CHECKPOINT is missing, and so is --model")
        return
    command, spec = parse_net(Evaluate, arguments, SHORT, prog="python -m fftune.evaluate")

    import logging

    from fftune.evaluate import evaluate
    from fftune.evaluate.defense_table import defense_table, undefended
    from fftune.evaluate.table import table
    from fftune.storage import storage_root

    named = Path(command.rows) if command.rows else None
    folder = named.parent if named else storage_root(command.storage) / "rows"
    outcomes = evaluate(
        spec,
        command.data,
        command.battery,
        threat=command.threat,
        split=command.split,
        defense=command.defense,
    )
    print(table(undefended(outcomes)))
    if command.defense.names:
        print("\n" + defense_table(outcomes))
    # Other weights of the same net have rows of their own.
    weights = str(outcomes.table["model_hash"][0])[:8]
    what = "-".join((command.battery.name, *command.defense.names))
    rows = named or folder / f"{_label(spec)}-{weights}-{what}.parquet"
    outcomes.write(rows)
    logging.getLogger(__name__).info("rows are in %s", rows)


def _label(spec: ModelSpec) -> str:
    """What a net is called: the last part of its factory, or the run that left its checkpoint."""
    if spec.weights:
        path = Path(spec.weights)
        inside = path.parent.name == "checkpoint"
        return path.parents[1].name if inside else path.stem
    return spec.factory.rpartition(":")[2]


def parse_net(
    cls: type[C], arguments: Sequence[str], short: Mapping[str, str], *, prog: str
) -> tuple[C, ModelSpec]:
    """A command about one net, and the net: CHECKPOINT, or `--model` with its data.

    Raises:
        ConfigError: neither is named, or both are.
        ModelError: there is no complete checkpoint.
    """
    flags = spelled_out(arguments, short)
    checkpoint = None if flags[0].startswith("-") else Path(flags.pop(0))
    if checkpoint is None:
        command = parse(cls, flags, prog=prog, default=cls())
        if not command.model:
            raise ConfigError("model is missing: name a CHECKPOINT, or --model FILE.py:FUNCTION")
        return command, ModelSpec(factory=command.model, weights=command.weights)
    from fftune.train.checkpoint import read_spec

    spec = read_spec(checkpoint)  # whatever is missing there is better said than guessed
    text = (checkpoint / "config.json").read_text(encoding="utf-8")
    config = from_json(TrainConfig, text)
    default = replace(cls(), data=config.data, threat=config.attack.threat)
    command = parse(cls, flags, prog=prog, default=default)
    if command.model or command.weights:
        raise ConfigError("model contradicts CHECKPOINT: name one of them")
    return command, spec
