"""`python -m fftune.sweep RECIPE ...`."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from fftune import recipes
from fftune.cli.options import parse, parse_known, spelled_out
from fftune.config import (
    Backend,
    Dimension,
    HedgeSweep,
    Resources,
    Study,
    SweepConfig,
    TrainConfig,
    from_json,
    to_json,
    with_settings,
)
from fftune.config.data import of_another
from fftune.errors import ConfigError, UserError


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The size of a recipe, which its other defaults follow from."""

    scale: recipes.Scale = "tiny"
    """`tiny`: the embedded digits, seconds a trial."""


@dataclass(frozen=True, kw_only=True)
class Command(Scale):
    """A study, where it runs and where it lands."""

    config: Any
    resources: Annotated[Resources, tyro.conf.arg(name="")] = field(default_factory=Resources)
    backend: Backend = "ray"
    """`ray` runs trials side by side; `inline` one after the other in this process."""
    storage: str | None = None
    """A folder for results; default `FFTUNE_STORAGE`, else one in the home folder."""
    resume: bool = False
    """Go on with a study that was interrupted."""
    dry_run: bool = False
    """Print the settings, what they would cost, and for how long on how many devices like the one
    that is here, and stop."""


@dataclass(frozen=True, kw_only=True)
class Sweep(Command):
    """Search lambda for the front of natural against hypocritical risk."""

    config: Annotated[SweepConfig, tyro.conf.arg(name="")] = field(default_factory=SweepConfig)


@dataclass(frozen=True, kw_only=True)
class Hedge(Command):
    """Search a hedge's radius, steps and step size: what it costs, and against whom it helps."""

    config: Annotated[HedgeSweep, tyro.conf.arg(name=""), tyro.conf.AvoidSubcommands] = field(
        default_factory=HedgeSweep
    )
    checkpoint: str = ""
    """The folder of a trained net; its data and threat are the defaults."""
    model: str = ""
    """Or `path/to/file.py:FUNCTION` of your own net, which takes images in [0, 1]; or a net of
    ours, as in `resnet50`."""
    weights: str = ""
    """Its state_dict, where the function does not load it."""


SHORT = {
    "--data": "--base.data.name",
    "--examples": "--base.examples",
    "--aware": "--base.aware",
    "--eps": "--base.attack.threat.eps",
    "--device": "--base.device",
}
"""Of a hedge sweep, as in `fftune.evaluate`."""


@dataclass(frozen=True, kw_only=True)
class _Name:
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Data:
    data: _Name = field(default_factory=_Name)


@dataclass(frozen=True, kw_only=True)
class Base:
    """Which data a study is about, whose sizes are not those of other data."""

    base: _Data = field(default_factory=_Data)


@dataclass(frozen=True, kw_only=True)
class Net(Base):
    """Which net a hedge sweep is about."""

    checkpoint: str = ""
    model: str = ""
    weights: str = ""


DIMENSIONS = tyro.constructors.ConstructorRegistry()
"""Dimensions are one word each, as in `--space lam=0:100:log1p optimizer.lr=0.01:0.2:log`."""


@DIMENSIONS.primitive_rule
def _dimension(
    info: tyro.constructors.PrimitiveTypeInfo,
) -> tyro.constructors.PrimitiveConstructorSpec[Dimension] | None:
    if info.type is not Dimension:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH=LOW:HIGH[:SCALE]|PATH=A,B",
        instance_from_str=lambda words: _parsed(words[0]),
        is_instance=lambda value: isinstance(value, Dimension),
        str_from_instance=lambda value: [str(value)],
    )


def _parsed(word: str) -> Dimension:
    """A dimension; what is wrong with it is told as it is.

    Raises:
        UserError: tyro takes a `ValueError`, as `ConfigError` is one, for a word of another kind.
    """
    try:
        return Dimension.parse(word)
    except ConfigError as error:
        raise UserError(str(error)) from None


USAGE = """usage: python -m fftune.sweep RECIPE [--scale tiny] [--SETTING VALUE ...]

recipes:
{recipes}
  PATH.py   a file of yours that defines recipe(scale) -> SweepConfig

`python -m fftune.sweep RECIPE --help` lists every setting."""


def main(arguments: Sequence[str]) -> None:
    """Parse, run, report."""
    command = _parse(arguments)
    if command is None:
        return
    if command.dry_run:
        print(to_json(command.config) + _told_cost(command.config))
        return
    from fftune.storage import storage_root

    root = storage_root(command.storage)  # a wrong one is told before the long imports

    from fftune.report.publish import publish
    from fftune.sweeping.sweep import sweep

    config = command.config
    if isinstance(config, HedgeSweep):
        from fftune.hedge_study.evaluation import pinned

        config = replace(config, base=pinned(config.base))
    sweep(
        config,
        root=root,
        backend=command.backend,
        resources=command.resources,
        resume=command.resume,
    )
    print(publish([config.name], root))


def _told_cost(config: Study) -> str:
    from fftune.sweeping.cost import cost, hedge_cost, hours

    if isinstance(config, HedgeSweep):
        return hedge_cost(config)
    from fftune.training.throughput import measure

    assert isinstance(config, SweepConfig)
    found = cost(config)
    return f"{found}\n{hours(found, measure(config.base))}"


def _parse(arguments: Sequence[str]) -> Command | None:
    """The command, or None where help was asked for and printed.

    Two passes: the recipe and the scale give the defaults that the other flags change.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        names = (f"  {name:9s} {recipe.__doc__}" for name, recipe in recipes.RECIPES.items())
        print(USAGE.format(recipes="\n".join(names)))
        if not arguments:
            raise ConfigError("RECIPE is missing")
        return None
    name, *flags = arguments
    recipe = recipes.find(name)
    scale = parse_known(Scale, flags).scale
    config, prog = recipe(scale), f"python -m fftune.sweep {name}"
    with DIMENSIONS:
        if isinstance(config, HedgeSweep):
            return _parse_hedge(spelled_out(flags, SHORT), Hedge(scale=scale, config=config), prog)
        assert isinstance(config, SweepConfig)
        if name in recipes.RECIPES:
            data = of_another(config.base.data, parse_known(Base, flags).base.data.name)
            config = replace(config, base=replace(config.base, data=data))
        return parse(Sweep, flags, prog=prog, default=Sweep(scale=scale, config=config))


def _parse_hedge(flags: Sequence[str], default: Hedge, prog: str) -> Hedge:
    """The command with its net, whose checkpoint gives the defaults that the flags change."""
    named = parse_known(Net, flags)
    if named.checkpoint:
        from fftune.models.saved_spec import read_spec

        folder = Path(named.checkpoint)
        net = read_spec(folder)
        trained = from_json(TrainConfig, (folder / "config.json").read_text(encoding="utf-8"))
        threat = trained.attack.threat
        attack = replace(default.config.base.attack, threat=threat)
        base = default.config.base
        data = of_another(trained.data, named.base.data.name)
        base = replace(base, net=net, data=data, attack=attack)
        base = with_settings(base, {"norm": threat.norm})
        default = replace(default, config=replace(default.config, base=base))
    command = parse(Hedge, flags, prog=prog, default=default)
    config, base = command.config, command.config.base
    if bool(command.model) == bool(command.checkpoint) and not base.net.factory:
        raise ConfigError("model is missing: name a --checkpoint, or --model FILE.py:FUNCTION")
    if command.model:
        if command.checkpoint:
            raise ConfigError("model contradicts checkpoint: name one of them")
        from fftune.data.model_spec import model_spec

        base = replace(base, net=model_spec(command.model, command.weights, base.data))
    if command.weights and not command.model:
        raise ConfigError("weights must come with --model")
    name = f"hedge-{base.net.label}" if config.name == default.config.name else config.name
    base = replace(base, net=base.net.absolute())
    return replace(command, config=replace(config, name=name, base=base))
