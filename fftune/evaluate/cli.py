"""`python -m fftune.evaluate CHECKPOINT --battery NAME ...`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from fftune.cli import parse, spelled_out
from fftune.config import (
    BatteryConfig,
    DataSpec,
    ModelSpec,
    Split,
    ThreatModel,
    TrainConfig,
    from_json,
)
from fftune.errors import ConfigError

USAGE = """usage: python -m fftune.evaluate CHECKPOINT [--battery NAME] [--SETTING VALUE ...]
       python -m fftune.evaluate --model FILE.py:FUNCTION [--weights FILE] --data NAME ...

CHECKPOINT is the folder of a trained net; its data and threat are the defaults.
`python -m fftune.evaluate --model FILE.py:FUNCTION --help` lists every setting."""

SHORT = {
    "--battery": "--battery.name",
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


def main(arguments: Sequence[str]) -> None:
    """Parse, attack, print, write."""
    if not arguments or list(arguments) in (["-h"], ["--help"]):
        print(USAGE)
        if not arguments:
            raise ConfigError("CHECKPOINT is missing, and so is --model")
        return
    command, checkpoint = _parse(arguments)
    spec = _spec(command, checkpoint)

    import logging

    from fftune.evaluate import evaluate
    from fftune.evaluate.table import table
    from fftune.storage import storage_root

    name = f"{Path(spec.weights or spec.factory).stem}-{command.battery.name}.parquet"
    rows = Path(command.rows) if command.rows else storage_root(command.storage) / "rows" / name
    outcomes = evaluate(
        spec, command.data, command.battery, threat=command.threat, split=command.split
    )
    print(table(outcomes))
    outcomes.write(rows)
    logging.getLogger(__name__).info("rows are in %s", rows)


def _parse(arguments: Sequence[str]) -> tuple[Evaluate, Path | None]:
    """The command, and the checkpoint's folder."""
    flags = spelled_out(arguments, SHORT)
    checkpoint = None if flags[0].startswith("-") else Path(flags.pop(0))
    default = Evaluate()
    if checkpoint is not None:
        from fftune.train.checkpoint import read_spec

        read_spec(checkpoint)  # whatever is missing there is better said than guessed
        text = (checkpoint / "config.json").read_text(encoding="utf-8")
        config = from_json(TrainConfig, text)
        default = Evaluate(data=config.data, threat=config.attack.threat)
    return parse(Evaluate, flags, prog="python -m fftune.evaluate", default=default), checkpoint


def _spec(command: Evaluate, checkpoint: Path | None) -> ModelSpec:
    if checkpoint is None:
        if not command.model:
            raise ConfigError("model is missing: name a CHECKPOINT, or --model FILE.py:FUNCTION")
        return ModelSpec(factory=command.model, weights=command.weights)
    if command.model or command.weights:
        raise ConfigError("model contradicts CHECKPOINT: name one of them")
    from fftune.train.checkpoint import read_spec

    return read_spec(checkpoint)
