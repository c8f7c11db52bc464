"""`python -m fftune.sweep RECIPE ...`."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, cast

import tyro

from fftune import recipes
from fftune.cli.arguments import WithData
from fftune.cli.flags import ONE_WORD, Flag, flags_of
from fftune.cli.help_page import Manual, help_is_asked, with_recipes
from fftune.cli.idle import refuse_resources
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
    Resources,
    ResultForm,
    Selection,
    Study,
    SweepConfig,
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
    """Digits, seconds a trial; 5,000 images of CIFAR-10; or as published."""


@dataclass(frozen=True, kw_only=True)
class Command(DryRun, Scale):
    """Settings of a study, resources, backend and storage."""

    config: Any
    resources: Annotated[Resources, tyro.conf.arg(name="")] = field(default_factory=Resources)
    backend: Backend = "ray"
    """Trials side by side, or one after the other in this process."""
    storage: str | None = None
    """Folder of results; default `FFTUNE_STORAGE`. Else it is one in the home folder."""
    resume: bool = False
    """Go on with a study that was interrupted."""
    format: ResultForm = "text"
    """Form of the result, which alone goes to stdout. `text`: tables as wide as the terminal, of
    100 columns in a pipe; `markdown`; `json`: every figure with its n and 95 % interval; `csv`: one
    row a figure."""


@dataclass(frozen=True, kw_only=True)
class ModelCommand(Command):
    """A study of one model that exists; see `StudyKind.takes_model`."""

    checkpoint: str = ""
    """Folder of a trained net, with its data and threat."""
    model: str = ""
    """Or FILE.py:FUNCTION of your own net for images in [0, 1]. Any other that `fftune evaluate
    --model` takes is taken, too; with a checkpoint of your own net: the code that it may run."""
    weights: str = ""
    """File of its weights, where the function loads none. Files are taken as training scripts write
    them."""
    weights_key: str = ""
    """Container or prefix in that file, as in `state_dict_ema`, where several fit the net."""
    normalize: str = ""
    """Normalisation put before the net: `none`, `data`, `imagenet` or MEAN/STD. Default what its
    source says; a net of your own takes images in [0, 1]."""


FRONT = Manual(
    usage=("[--SETTING VALUE ...]",),
    about="Train a front of nets, natural against hypocritical risk, and report it.",
    usual=(
        *("--scale", "--data", "--model", "--lam", "--trials", "--epochs", "--seeds", "--eps"),
        *("--strategy", "--space", "--where", "--battery", "--backend", "--gpus", "--name"),
        *("--resume", "--dry-run"),
    ),
    short={
        "--data": "--base.data.name",
        "--model": "--base.model",
        "--eps": "--base.attack.threat.eps",
        "--norm": "--base.attack.threat.norm",
        "--epochs": "--base.optimizer.epochs",
        "--batch-size": "--base.optimizer.batch-size",
        "--lr": "--base.optimizer.lr",
        "--device": "--base.device",
        "--battery": "--battery.name",
        "--examples": "--battery.examples",
        "--tier": "--battery.tier",
    },
)
"""A study of trainings."""
OF_MODEL = Manual(
    usage=(
        "--checkpoint FOLDER [--SETTING VALUE ...]",
        "--model FILE.py:FUNCTION --data NAME [--SETTING VALUE ...]",
    ),
    about="Search the radius, the steps and the step size of a hedge, a defense of one net.",
    usual=(
        *("--checkpoint", "--model", "--weights", "--scale", "--data", "--examples", "--aware"),
        *("--eps", "--trials", "--strategy", "--space", "--device", "--backend", "--name"),
        *("--resume", "--storage", "--dry-run"),
    ),
    short={
        "--data": "--base.data.name",
        "--examples": "--base.examples",
        "--aware": "--base.aware",
        "--eps": "--base.attack.threat.eps",
        "--norm": "--base.attack.threat.norm",
        "--device": "--base.device",
    },
)
"""A study of one model."""


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


WORDS = tyro.constructors.ConstructorRegistry()
"""Parser of settings of one word each, as in `--space optimizer.lr=0.01:0.2:log`."""


@WORDS.primitive_rule
def _word(
    info: tyro.constructors.PrimitiveTypeInfo,
) -> tyro.constructors.PrimitiveConstructorSpec[Any] | None:
    kind: Any = info.type
    if kind not in ONE_WORD:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=ONE_WORD[kind],
        instance_from_str=lambda words: _parsed(kind, words[0]),
        is_instance=lambda value: isinstance(value, kind),
        str_from_instance=lambda value: [str(value)],
    )


def _parsed(kind: Any, word: str) -> Any:
    """Parse a word, and keep the message of what is wrong with it.

    Raises:
        UserError: the word is none of its kind. (tyro replaces the message of a `ValueError`,
            which `ConfigError` is.)
    """
    try:
        return kind.parse(word)
    except ConfigError as error:
        raise UserError(str(error)) from None


def main(arguments: Sequence[str]) -> None:
    """Parse, run, report."""
    command = _parse(arguments)
    require_dry_run(command)
    if command.backend == "inline":
        refuse_resources(command.resources, "trials run without --backend ray")
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


def _parse(arguments: Sequence[str]) -> Command:
    """Parse the command.

    Two passes: the recipe and the scale, and of a built-in front the data and the split that
    selects, give the defaults that the other flags change.

    Raises:
        SystemExit: 0, after help.
    """
    if not arguments or arguments[0].startswith("-"):
        if not help_is_asked(arguments):
            known = ", ".join(recipes.RECIPES)
            raise ConfigError(f"RECIPE is missing: name one of {known}, or PATH.py; or --help")
        return _help(arguments)
    name, *flags = arguments
    scale = parse_known(Scale, flags).scale
    config, prog = recipes.study(name, scale), f"sweep {name}"
    if not isinstance(config, Study):
        raise ConfigError(f"recipe {name!r} returned {type(config).__name__}, not a study")
    kind = kind_record(config.kind)
    if name in recipes.FRONTS:
        asked = parse_known(Base, spelled_out(flags, FRONT.short))
        data, selection = asked.base.data.name, asked.selection
        config = recipes.study(name, scale, data=data, selection=selection)
    default = _command_type(kind, type(config))(scale=scale, config=config)
    with WORDS:
        if kind.takes_model:
            command = _parse_with_model(flags, default, prog)
        else:
            command = parse(type(default), flags, prog=prog, default=default, manual=_front(config))
    strategy = absolute(command.config.strategy)
    return replace(command, config=replace(command.config, strategy=strategy))


def _help(arguments: Sequence[str]) -> Command:
    """Print the help of the verb itself, with a line for each recipe."""
    lines = {name: " ".join(str(one.__doc__).split()) for name, one in recipes.RECIPES.items()}
    lines["PATH.py"] = "a file of yours that defines recipe(scale) -> SweepConfig, or another study"
    config = recipes.study("thrm", "tiny")
    default = _command_type(kind_record(config.kind), type(config))(config=config)
    manual = with_recipes(FRONT, lines, "thrm")
    return parse(type(default), arguments, prog="sweep", default=default, manual=manual)


def all_flags() -> list[Flag]:
    """Flags of the built-in studies, each once."""
    found: dict[str, Flag] = {}
    for name in recipes.RECIPES:
        config = recipes.study(name, "tiny")
        kind = kind_record(config.kind)
        manual = OF_MODEL if kind.takes_model else FRONT
        for flag in flags_of(_command_type(kind, type(config)), None, manual.short):
            found.setdefault(flag.names[-1], flag)
    return list(found.values())


def _front(config: Study) -> Manual:
    """The help of a study of trainings; of a kind of the user's own, with the flags that it has."""
    if isinstance(config, SweepConfig):
        return FRONT
    names = {name for flag in flags_of(type(config), config) for name in flag.names}
    short = {one: long for one, long in FRONT.short.items() if long in names}
    return Manual(usage=FRONT.usage, about=FRONT.about, usual=(*short,), short=short)


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
    named = parse_known(Model, spelled_out(flags, OF_MODEL.short))
    if named.checkpoint:
        default = replace(default, config=_of_checkpoint(default.config, named))
    parsed = parse(type(default), flags, prog=prog, default=default, manual=OF_MODEL)
    command = cast("ModelCommand", parsed)
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
    from fftune.models.variants import checkpoint_at

    folder = checkpoint_at(named.checkpoint) or Path(named.checkpoint)
    net = with_named_code(read_spec(folder), folder, named.model)
    trained = read_settings(TrainConfig, folder / "config.json", error=ModelError)
    attack = replace(config.base.attack, threat=trained.attack.threat)
    data = with_named_data(trained.data, folder, named.base.data.name)
    base = replace(config.base, net=net, data=data, attack=attack)
    return replace(config, base=with_settings(base, {"norm": attack.threat.norm}))
