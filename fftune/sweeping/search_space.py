"""Search space of a study as Optuna parameters, and Optuna parameters as settings."""

from collections.abc import Hashable
from itertools import product
from math import expm1, log1p
from typing import Any

from optuna.trial import BaseTrial

from fftune.config import Dimension, Settings, Study, Value, is_whole
from fftune.sweeping.samplers.spec import sampler_spec


def suggest(trial: BaseTrial, config: Study) -> Settings:
    """Draw the settings of a trial with the study's sampler."""
    return {d.path: _suggest(trial, d, config) for d in config.dimensions}


def params_of(settings: Settings, config: Study) -> dict[str, Any]:
    """Translate settings into Optuna parameters, as for a trial that is to be queued."""
    return {
        _name(d, config): log1p(settings[d.path]) if _bent(d, config) else settings[d.path]
        for d in config.dimensions
    }


def corners(config: Study) -> list[Settings]:
    """Settings with which model-based searches begin: known ones, then corners of the space.

    The corner of all least values comes first, that of all greatest next. Settings of equal
    effect come once, and at most half of the trials are corners, or two.
    """
    paths = [d.path for d in config.dimensions]
    each = [tuple(map(int, d.ends)) if _whole(d, config) else d.ends for d in config.dimensions]
    every: list[Settings] = [dict(zip(paths, ends, strict=True)) for ends in product(*each)]
    first, *others, last = every
    distinct: dict[Hashable, Settings] = {}
    for settings in (*config.known, first, last, *others):
        distinct.setdefault(config.effect(settings), settings)
    return list(distinct.values())[: max(2, config.trials // 2)]


def _suggest(trial: BaseTrial, dimension: Dimension, config: Study) -> Value:
    name, low, high = _name(dimension, config), dimension.low, dimension.high
    log = dimension.scale == "log"
    if dimension.choices:
        choice: Any = trial.suggest_categorical(name, dimension.choices)
        return choice  # type: ignore[no-any-return]
    if _whole(dimension, config):
        return int(trial.suggest_int(name, int(low), int(high), log=log))
    if _bent(dimension, config):
        value = expm1(trial.suggest_float(name, log1p(low), log1p(high)))
        return min(max(float(value), low), high)  # the ends themselves, not their neighbours
    return float(trial.suggest_float(name, low, high, log=log))


def _bent(dimension: Dimension, config: Study) -> bool:
    """Tell if the Optuna parameter is log(1 + value), an axis that Optuna itself lacks."""
    ranged = not dimension.choices and not _whole(dimension, config)
    return ranged and dimension.scale == "log1p" and not sampler_spec(config).own_axis


def _name(dimension: Dimension, config: Study) -> str:
    return f"log1p({dimension.path})" if _bent(dimension, config) else dimension.path


def _whole(dimension: Dimension, config: Study) -> bool:
    return not dimension.choices and is_whole(config.base, dimension.path)
