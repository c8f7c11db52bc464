"""`python -m fftune.train RECIPE ...`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from fftune import recipes
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
    Constants,
    Norm,
    Resources,
    ResultForm,
    TrainConfig,
    nearest,
    require,
    to_json,
)
from fftune.errors import ConfigError
from fftune.names import plain_name, require_name
from fftune.objectives import find_objective
from fftune.registry import OBJECTIVES, is_of_file


@dataclass(frozen=True, kw_only=True)
class _Name:
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Threat:
    norm: Norm = "linf"
    eps: float | None = None


@dataclass(frozen=True, kw_only=True)
class _Attack:
    threat: _Threat = field(default_factory=_Threat)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The flags on which the defaults of other settings depend."""

    scale: recipes.Scale = "tiny"
    kind: recipes.TrainingData = "quality"
    data: _Name = field(default_factory=_Name)
    model: str | None = None
    attack: _Attack = field(default_factory=_Attack)
    constants: Constants = "paper"
    lam: float | None = None
    seed: int = 0

    def basis(self) -> recipes.Basis:
        """Convert to the settings of recipes."""
        threat = self.attack.threat
        return recipes.Basis(
            scale=self.scale,
            kind=self.kind,
            data=self.data.name,
            model=self.model,
            norm=threat.norm,
            eps=threat.eps,
            constants=self.constants,
        )


@dataclass(frozen=True, kw_only=True)
class Train(DryRun):
    """Train one net."""

    config: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)
    resources: Annotated[Resources, tyro.conf.arg(name="")] = field(default_factory=Resources)
    scale: recipes.Scale = "tiny"
    """Digits, seconds; 5,000 images of CIFAR-10, minutes; or as published."""
    kind: recipes.TrainingData = "quality"
    """Training data, by `fftune data write --kind`. It writes all but `quality` and `naive`."""
    name: str = "run"
    """Name of the run's folder. It says by default what is not usual."""
    storage: str | None = None
    """Folder of results; default `FFTUNE_STORAGE`. Else it is one in the home folder."""
    save_seconds: float = 120.0
    """Seconds between two snapshots of a run: a crash loses no more work."""
    resume: bool = False
    """Go on with a run that was interrupted."""
    format: ResultForm = "text"
    """Form of the result, which alone goes to stdout. `text`: a table as wide as the terminal;
    `markdown`; `json`; `csv`: one row a figure of an epoch. Default text."""

    def __post_init__(self) -> None:
        DryRun.__post_init__(self)
        require("save_seconds", self.save_seconds >= 0, ">= 0", self.save_seconds)
        object.__setattr__(self, "name", require_name("name", self.name))


OFFICIAL = "trades_official"
MANUAL = Manual(
    usage=("[--SETTING VALUE ...]",),
    about="Train one net, and print the folder of its checkpoint.",
    usual=(
        *("--scale", "--data", "--model", "--lam", "--eps", "--epochs", "--norm", "--kind"),
        *("--lr", "--seed", "--device", "--name", "--resume", "--storage", "--dry-run"),
    ),
    short={
        "--data": "--data.name",
        "--eps": "--attack.threat.eps",
        "--norm": "--attack.threat.norm",
        "--epochs": "--optimizer.epochs",
        "--batch-size": "--optimizer.batch-size",
        "--lr": "--optimizer.lr",
    },
)


def _general() -> Manual:
    """The help of the command itself, with a line for each recipe."""
    lines = {name: find_objective(name).summary for name in OBJECTIVES}
    lines |= {
        OFFICIAL: "trades with the constants of its authors' code for CIFAR-10",
        "FILE.py:NAME": "an objective of yours",
        "PATH.py": "a file of yours that defines recipe(scale) -> TrainConfig",
    }
    return with_recipes(MANUAL, lines, "thrm")


def main(arguments: Sequence[str]) -> None:
    """Parse, train, print the epochs and the folder of the checkpoint."""
    command = parsed(arguments)
    require_dry_run(command)
    if command.config.workers == 1:
        refuse_resources(command.resources, "one worker trains in this process")
    if command.dry_run:
        from fftune.training.cost import cost
        from fftune.training.hours import describe

        print(to_json(command.config) + str(cost(command.config)))
        print(describe(command.config, command.on, command.cards))
        return
    from fftune.storage import storage_root
    from fftune.tracking.first_look import require_store

    root = storage_root(command.storage)  # a wrong one is refused before the long imports
    require_store(root)

    announce_imports()
    from fftune.training.tracked import train_tracked

    checkpoint, folder = train_tracked(
        command.config,
        name=command.name,
        root=root,
        resources=command.resources,
        save_seconds=command.save_seconds,
        resume=command.resume,
    )
    from fftune.report.training_page import training_page

    training_page(command.name, checkpoint, folder).write(command.format)


def parsed(arguments: Sequence[str]) -> Train:
    """The command.

    Raises:
        SystemExit: 0, after help.
    """
    if not arguments or arguments[0].startswith("-"):
        if not help_is_asked(arguments):
            raise ConfigError(f"RECIPE is missing: name one of {', '.join(OBJECTIVES)}; or --help")
        return parse(
            Train, arguments, prog="train", default=_default("thrm", Settings()), manual=_general()
        )
    recipe, *flags = arguments
    settings = parse_known(Settings, spelled_out(flags, MANUAL.short))
    return parse(
        Train,
        flags,
        prog=f"train {recipe}",
        default=_default(recipe, settings),
        manual=MANUAL,
    )


def _default(recipe: str, settings: Settings) -> Train:
    """The command with no flag but those on which the others' defaults depend."""
    return Train(
        config=_config(recipe, settings),
        scale=settings.scale,
        kind=settings.kind,
        name=_name(recipe, settings),
    )


def _name(recipe: str, settings: Settings) -> str:
    """The default name of a run: RECIPE-SCALE, and the settings that are not usual."""
    threat = settings.attack.threat
    special = [
        None if settings.kind == "quality" else settings.kind,
        settings.data.name,
        settings.model,
        None if threat.norm == "linf" else threat.norm,
        None if settings.constants == "paper" else settings.constants,
        None if settings.lam is None else f"lam-{settings.lam:g}",
        None if settings.seed == 0 else f"seed-{settings.seed}",
    ]
    short = recipe.rpartition(":")[2] if is_of_file(recipe) else Path(recipe).stem
    words = [short, settings.scale, *filter(None, special)]
    return plain_name("-".join(words))


def _config(recipe: str, settings: Settings) -> TrainConfig:
    if recipe in OBJECTIVES or is_of_file(recipe):
        return recipes.training(recipe, settings.basis())
    if recipe == OFFICIAL:
        return recipes.trades_official(settings.basis())
    if not recipe.endswith(".py"):
        near = nearest(recipe, [*OBJECTIVES, OFFICIAL])
        raise ConfigError(f"recipe {recipe!r} does not exist; {near} (or path/to/FILE.py)")
    config = recipes.own(recipe)(settings.scale)
    if not isinstance(config, TrainConfig):
        raise ConfigError(f"recipe {recipe!r} returned {type(config).__name__}, not TrainConfig")
    return config
