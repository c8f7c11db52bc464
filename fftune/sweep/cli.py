"""`python -m fftune.sweep RECIPE ...`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from fftune import recipes
from fftune.cli import parse, parse_known
from fftune.config import Backend, Dimension, Resources, SweepConfig, to_json
from fftune.errors import ConfigError, UserError


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The size of a recipe, which its other defaults follow from."""

    scale: recipes.Scale = "tiny"
    """`tiny`: the embedded digits, seconds a trial."""


@dataclass(frozen=True, kw_only=True)
class Sweep(Scale):
    """Search lambda for the front of natural against hypocritical risk."""

    config: Annotated[SweepConfig, tyro.conf.arg(name="")] = field(default_factory=SweepConfig)
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
        from fftune.sweep.cost import cost, hours
        from fftune.train.rates import measure

        found = cost(command.config)
        print(to_json(command.config) + f"{found}\n{hours(found, measure(command.config.base))}")
        return
    from fftune.storage import storage_root

    root = storage_root(command.storage)  # a wrong one is told before the long imports

    from fftune.report.publish import publish
    from fftune.sweep.run import sweep

    sweep(
        command.config,
        root=root,
        backend=command.backend,
        resources=command.resources,
        resume=command.resume,
    )
    print(publish([command.config.name], root))


def _parse(arguments: Sequence[str]) -> Sweep | None:
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
    default = Sweep(scale=scale, config=recipe(scale))
    with DIMENSIONS:
        return parse(Sweep, flags, prog=f"python -m fftune.sweep {name}", default=default)
