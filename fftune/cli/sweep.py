"""`python -m fftune.sweep RECIPE ...`."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, cast

import tyro

from fftune import recipes
from fftune.cli.arguments import WithData
from fftune.cli.options import (
    DryRun,
    announce_imports,
    parse,
    parse_known,
    require_dry_run,
    spelled_out,
)
from fftune.config import (
    Backend,
    Dimension,
    Resources,
    ResultForm,
    Selection,
    Study,
    TrainConfig,
    read_settings,
    require,
    study_json,
    with_settings,
)
from fftune.config.study import kind_record
from fftune.errors import ConfigError, ModelError, UserError
from fftune.registry import absolute


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Scale of a recipe, from which its other defaults follow."""

    scale: recipes.Scale = "tiny"
    """`tiny`: the embedded digits, seconds a trial."""


@dataclass(frozen=True, kw_only=True)
class Command(DryRun, Scale):
    """Settings of a study, resources, backend and storage."""

    config: Any
    resources: Annotated[Resources, tyro.conf.arg(name="")] = field(default_factory=Resources)
    backend: Backend = "ray"
    """`ray` runs trials side by side; `inline` one after the other in this process."""
    storage: str | None = None
    """Folder for results; default `FFTUNE_STORAGE`, else one in the home folder."""
    resume: bool = False
    """Continue a study that was interrupted."""
    format: ResultForm = "text"
    """Form of the result, which alone goes to stdout. `text`: tables as wide as the terminal, of
    100 columns in a pipe; `markdown`; `json`: every figure with its n and 95 % interval; `csv`: one
    row a figure. Default text."""


@dataclass(frozen=True, kw_only=True)
class ModelCommand(Command):
    """A study of one model that exists; see `StudyKind.takes_model`."""

    checkpoint: str = ""
    """The folder of a trained model; its data and threat are the defaults."""
    model: str = ""
    """Or `path/to/FILE.py:FUNCTION` of your own model, which takes images in [0, 1], or any other
    that `fftune evaluate --model` takes. With a checkpoint of your own: the code that it may run.
    """
    weights: str = ""
    """File of its weights, where the function does not load it."""
    weights_key: str = ""
    """Container or prefix in that file, where several fit the model."""
    normalize: str = ""
    """Normalisation put before it: `none`, `data`, `imagenet` or MEAN/STD."""


SHORT = {
    "--data": "--base.data.name",
    "--examples": "--base.examples",
    "--aware": "--base.aware",
    "--eps": "--base.attack.threat.eps",
    "--device": "--base.device",
}
"""Short flags of a study of one model, as in `fftune.evaluate`."""


IN_SHORT = {"--data": "--base.data.name", "--eps": "--base.attack.threat.eps"}
"""Short flags of a study of trainings."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """Data of a study, and the split that selects, from which other defaults follow."""

    base: WithData = field(default_factory=WithData)
    selection: Selection = "validation"


@dataclass(frozen=True, kw_only=True)
class Model:
    """Model of a study, and its data."""

    base: WithData = field(default_factory=WithData)
    checkpoint: str = ""
    model: str = ""
    weights: str = ""


DIMENSIONS = tyro.constructors.ConstructorRegistry()
"""Parser of one-word dimensions, as in `--space lam=0:100:log1p optimizer.lr=0.01:0.2:log`."""


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
    """Parse a dimension, and keep the message of what is wrong with it.

    Raises:
        UserError: the word is no dimension. (tyro replaces the message of a `ValueError`, which
            `ConfigError` is.)
    """
    try:
        return Dimension.parse(word)
    except ConfigError as error:
        raise UserError(str(error)) from None


USAGE = """usage: python -m fftune.sweep RECIPE [--scale tiny] [--SETTING VALUE ...]

recipes:
{recipes}
  PATH.py   a file of yours that defines recipe(scale) -> SweepConfig, or another kind of study

`python -m fftune.sweep RECIPE --help` lists every setting."""


def main(arguments: Sequence[str]) -> None:
    """Parse, run, report."""
    command = _parse(arguments)
    if command is None:
        return
    require_dry_run(command)
    if command.dry_run:
        print(study_json(command.config) + _cost(command), end="")
        return
    from fftune.storage import storage_root
    from fftune.tracking.first_look import require_store

    root = storage_root(command.storage)  # a wrong one is reported before the long imports
    require_store(root)

    announce_imports()
    from fftune.sweeping.study_kind import kind_of
    from fftune.sweeping.sweep import sweep

    config = kind_of(command.config).prepare(command.config)
    sweep(
        config,
        root=root,
        backend=command.backend,
        resources=command.resources,
        resume=command.resume,
    )
    from fftune.report.publish import publish  # with libraries that no trial waits for

    logging.getLogger("fftune.sweep").info("writing the report of %s", config.name)
    publish([config.name], root).write(command.format)


def _cost(command: Command) -> str:
    """Describe the cost of a study, if its kind can."""
    from fftune.sweeping.samplers.spec import check_strategy
    from fftune.sweeping.study_kind import kind_of

    config = command.config
    check_strategy(config)
    kind = kind_of(config)
    text = f"{kind.cost(config)}\n" if kind.cost else ""
    if kind.hours:
        return f"{text}{kind.hours(config, command.on, command.cards)}\n"
    for flag in ("on", "cards"):
        asked = getattr(command, flag)
        require(flag, asked is None, f"left out for a study of kind {config.kind!r}", asked)
    return text


def _parse(arguments: Sequence[str]) -> Command | None:
    """Parse the command; None where help was asked for and printed.

    Two passes: the recipe and the scale, and of a built-in front the data and the split that
    selects, give the defaults that the other flags change.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        names = (f"  {name:9s} {recipe.__doc__}" for name, recipe in recipes.RECIPES.items())
        print(USAGE.format(recipes="\n".join(names)))
        if not arguments:
            raise ConfigError("RECIPE is missing")
        return None
    name, *flags = arguments
    scale = parse_known(Scale, flags).scale
    config, prog = recipes.study(name, scale), f"python -m fftune.sweep {name}"
    if not isinstance(config, Study):
        raise ConfigError(f"recipe {name!r} returned {type(config).__name__}, not a study")
    kind = kind_record(config.kind)
    if not kind.takes_model:
        flags = spelled_out(flags, IN_SHORT)
    if name in recipes.FRONTS:
        asked = parse_known(Base, flags)
        data, selection = asked.base.data.name, asked.selection
        config = recipes.study(name, scale, data=data, selection=selection)
    default = _command_type(kind, type(config))(scale=scale, config=config)
    with DIMENSIONS:
        if kind.takes_model:
            command = _parse_with_model(spelled_out(flags, SHORT), default, prog)
        else:
            command = parse(type(default), flags, prog=prog, default=default)
    strategy = absolute(command.config.strategy)
    return replace(command, config=replace(command.config, strategy=strategy))


def _command_type(kind: Any, config: type[Study]) -> type[Command]:
    """Command whose settings are of a kind of study."""
    settings = Annotated[config, tyro.conf.arg(name=""), tyro.conf.AvoidSubcommands]  # type: ignore[valid-type]
    made = make_dataclass(
        config.__name__,
        [("config", settings, field(default_factory=config))],
        bases=(ModelCommand if kind.takes_model else Command,),
        namespace={"__doc__": kind.about},
        frozen=True,
        kw_only=True,
    )
    return cast("type[Command]", made)


def _parse_with_model(flags: Sequence[str], default: Command, prog: str) -> Command:
    """Parse a study of one model, whose checkpoint gives the defaults that the flags change."""
    named = parse_known(Model, flags)
    if named.checkpoint:
        default = replace(default, config=_of_checkpoint(default.config, named))
    command = cast("ModelCommand", parse(type(default), flags, prog=prog, default=default))
    config, base = command.config, command.config.base
    if not (command.model or command.checkpoint or base.net.factory):
        raise ConfigError("model is missing: name a --checkpoint, or --model FILE.py:FUNCTION")
    if command.model and not command.checkpoint:
        from fftune.data.model_spec import with_inputs
        from fftune.models.specs import named_spec

        options = {"weights_key": command.weights_key, "normalize": command.normalize}
        net = named_spec(command.model, command.weights, **options)
        base = replace(base, net=with_inputs(net, base.data))
    if command.weights and (command.checkpoint or not command.model):
        raise ConfigError("weights must come with --model, and without --checkpoint")
    name = config.name
    if name == default.config.name:
        name = f"{name}-{base.net.label}"
    base = replace(base, net=base.net.absolute())
    return replace(command, config=replace(config, name=name, base=base))


def _of_checkpoint(config: Any, named: "Model") -> Any:
    """Settings of a study with the model, data and threat of a checkpoint."""
    from fftune.models.specs import read_spec, with_named_code, with_named_data

    folder = Path(named.checkpoint)
    net = with_named_code(read_spec(folder), folder, named.model)
    trained = read_settings(TrainConfig, folder / "config.json", error=ModelError)
    threat = trained.attack.threat
    attack = replace(config.base.attack, threat=threat)
    data = with_named_data(trained.data, folder, named.base.data.name)
    base = replace(config.base, net=net, data=data, attack=attack)
    return replace(config, base=with_settings(base, {"norm": threat.norm}))
