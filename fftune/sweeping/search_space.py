"""A study's space as Optuna sees it: parameters of its own axes, and back to settings."""

from collections.abc import Hashable
from itertools import product
from math import expm1, log1p
from typing import Any, TypeGuard

from optuna.trial import BaseTrial

from fftune.config import Dimension, Settings, Study, SweepConfig, Value, is_whole


def suggest(trial: BaseTrial, config: Study) -> Settings:
    """The trial's settings, drawn by the study's sampler."""
    if _plain(config):
        low, high = min(config.lam), max(config.lam)
        return {"lam": float(trial.suggest_float("lam", low, high))}
    return {d.path: _suggest(trial, d, config) for d in config.dimensions}


def params_of(settings: Settings, config: Study) -> dict[str, Any]:
    """What Optuna calls these settings, for a trial that is to be queued."""
    if _plain(config):
        return dict(settings)
    return {
        _name(d, config): log1p(settings[d.path]) if _bent(d, config) else settings[d.path]
        for d in config.dimensions
    }


def corners(config: Study) -> list[Settings]:
    """Where `gp` and `tpe` begin: what is known, the least and the greatest, the other corners.

    Those of equal effect once; at most half of the trials, so that the search is left with
    something to choose.
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


def _plain(config: Study) -> TypeGuard[SweepConfig]:
    """Whether Optuna is asked for lambda as it is: `gap` bends the axis by itself."""
    by_lambda = isinstance(config, SweepConfig) and not config.space
    return by_lambda and config.rule in ("gap", "grid")


def _bent(dimension: Dimension, config: Study) -> bool:
    """Whether Optuna is asked for log(1 + value), for it knows no such axis."""
    ranged = not dimension.choices and not _whole(dimension, config)
    return ranged and dimension.scale == "log1p" and config.rule != "gap"


def _name(dimension: Dimension, config: Study) -> str:
    return f"log1p({dimension.path})" if _bent(dimension, config) else dimension.path


def _whole(dimension: Dimension, config: Study) -> bool:
    return not dimension.choices and is_whole(config.base, dimension.path)
