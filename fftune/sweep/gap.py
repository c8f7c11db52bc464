"""Gap bisection: put the next lambda where the front has its largest hole.

Works with any study of one float parameter and two objectives; knows nothing of training.
"""

from collections.abc import Sequence
from math import expm1, isfinite, log1p
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

MIN_WIDTH = 0.02
"""Neighbours closer than this, in log(1 + value), are not split while others can be."""

Tried = tuple[float, Sequence[float] | None]
"""A value and its two objectives; None while it is running, or because it failed."""


class GapSampler(BaseSampler):
    """An Optuna sampler for one non-negative float parameter and two objectives.

    First the ends of the range. Then, between neighbours on the log(1 + value) axis, the pair
    that spans the largest rectangle of the two objectives, each scaled to the range seen so
    far, is split in the middle. A running trial counts as if it had come out on the line
    between its neighbours, so that parallel workers do not crowd into one gap.

    >>> study = optuna.create_study(directions=["minimize"] * 2, sampler=GapSampler())
    """

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Nothing is sampled jointly: there is one parameter."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing is sampled jointly: there is one parameter."""
        return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> float:
        """The next value, from all that the study knows."""
        if not isinstance(param_distribution, FloatDistribution) or param_distribution.low < 0:
            raise ValueError(f"GapSampler needs a float >= 0, got {param_distribution!r}")
        if len(study.directions) != 2:
            raise ValueError(f"GapSampler needs two objectives, got {len(study.directions)}")
        tried: list[Tried] = [
            (t.params[param_name], t.values if t.state == TrialState.COMPLETE else None)
            for t in study.get_trials(deepcopy=False)
            if t.number != trial.number and param_name in t.params
        ]
        return next_value(tried, param_distribution.low, param_distribution.high)


def next_value(tried: Sequence[Tried], low: float, high: float) -> float:
    """The value in [low, high] to try next."""
    known = {value for value, _ in tried}
    for end in (low, high):
        if end not in known:
            return end
    u = np.array([log1p(value) for value, _ in tried])
    risks = np.array(
        [objectives if _usable(objectives) else (np.nan, np.nan) for _, objectives in tried]
    )
    order = np.argsort(u, kind="stable")
    u, risks = u[order], _predicted(u[order], risks[order])
    widths = np.diff(u)
    areas = np.prod(np.abs(np.diff(risks, axis=0)), axis=1) * (widths >= MIN_WIDTH)
    # Where no rectangle is left, or nothing is known yet, split the widest gap.
    gap = int(np.argmax(areas if areas.max(initial=0) > 0 else widths))
    return float(np.clip(expm1((u[gap] + u[gap + 1]) / 2), low, high))


def _usable(objectives: Sequence[float] | None) -> bool:
    return objectives is not None and all(map(isfinite, objectives))


def _predicted(u: np.ndarray, risks: np.ndarray) -> np.ndarray:
    """Objectives scaled to the range seen, holes filled on the line between their neighbours."""
    done = ~np.isnan(risks).any(axis=1)
    if not done.any():
        return np.zeros_like(risks)
    span = np.ptp(risks[done], axis=0)
    scaled = (risks - risks[done].min(axis=0)) / np.where(span > 0, span, 1)
    return np.stack([np.interp(u, u[done], scaled[done, i]) for i in range(2)], axis=1)
