"""Built-in studies. A recipe is a function of the scale; `8 / 255` stays `8 / 255`."""

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from fftune.config import (
    AttackConfig,
    BatteryConfig,
    DataSpec,
    Objective,
    OptimizerConfig,
    SweepConfig,
    ThreatModel,
    TrainConfig,
    nearest,
)
from fftune.errors import ConfigError

Scale = Literal["tiny"]
Recipe = Callable[[Scale], SweepConfig]


def thrm(scale: Scale) -> SweepConfig:
    """Lambda against natural and hypocritical risk under THRM (Tao et al. 2022, eq. 3)."""
    return _lambda_sweep("thrm", scale)


def trades(scale: Scale) -> SweepConfig:
    """Lambda against natural and hypocritical risk under TRADES (Tao et al. 2022, eq. 2)."""
    return _lambda_sweep("trades", scale)


RECIPES: dict[str, Recipe] = {"thrm": thrm, "trades": trades}


def find(name: str) -> Recipe:
    """A built-in recipe, or the function `recipe` of a user's own file.

    Raises:
        ConfigError: there is no such recipe or file, or the file has no such function.
    """
    if name in RECIPES:
        return RECIPES[name]
    if not name.endswith(".py"):
        raise ConfigError(f"recipe {name!r} does not exist; {nearest(name, RECIPES)}, or PATH.py")
    path = Path(name)
    if not path.is_file():
        raise ConfigError(f"recipe {name!r} does not exist: there is no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # a .py file has a loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    recipe: Recipe | None = getattr(module, "recipe", None)
    if not callable(recipe):
        raise ConfigError(f"recipe {name!r} does not define a function recipe(scale)")
    return recipe


def _lambda_sweep(objective: Objective, scale: Scale) -> SweepConfig:
    return SweepConfig(
        name=f"{objective}-{scale}",
        experiment=f"digits-{scale}",
        base=replace(TINY, objective=objective),
        battery=BatteryConfig(name="risks", steps=20),
    )


TINY = TrainConfig(
    attack=AttackConfig(threat=ThreatModel(norm="linf", eps=0.15), steps=10),
    data=DataSpec(name="digits", train_size=100, validation_size=500),
    model="small_cnn",
    optimizer=OptimizerConfig(epochs=40, batch_size=50, lr=0.05),
)
"""The handwritten digits that scikit-learn carries: seconds a trial on one CPU core."""
