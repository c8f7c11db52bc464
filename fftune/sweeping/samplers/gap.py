"""Gap bisection: put the next lambda into the largest gap of the front.

Works with any Optuna study of one float parameter and two objectives.
"""

from collections.abc import Callable, Sequence
from math import exp, expm1, isfinite, log, log1p
from typing import Any, Literal

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

MIN_WIDTH = 0.004
"""Share of the axis, in (0, 1): closer neighbours are not split while others can be."""

Scale = Literal["linear", "log", "log1p"]
AXES: dict[Scale, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "linear": (float, float),
    "log": (log, exp),
    "log1p": (log1p, expm1),
}
"""Functions to the axis on which gaps are halved, and back, by scale."""

Tried = tuple[float, Sequence[float] | None]
"""A value and its two objectives; None while the trial runs, or if it failed."""


class GapSampler(BaseSampler):
    """An Optuna sampler for one non-negative float parameter and two objectives.

    First the ends of the range. Then, between neighbours on the axis, the pair that spans the
    largest rectangle of the two objectives, whatever their scales, is split in the middle. A
    running trial counts as if it had come out on the line between its neighbours, so that parallel
    workers do not crowd into one gap.

    >>> study = optuna.create_study(directions=["minimize"] * 2, sampler=GapSampler())

    Args:
        scale: the axis; a parameter that was suggested with `log=True` has its own.
        margin: begin so far inside the range, a share of the axis. The ends are the extremes of
            a front, which hypervolume rewards only as far as its reference lies beyond them: with
            `margin=0.05` six trials reach on the papers' curves what their grid of nine does, but
            nothing is known beyond them. See benchmarks/RESULTS.md.
    """

    def __init__(self, *, scale: Scale = "log1p", margin: float = 0.0) -> None:
        self._scale, self._margin = scale, margin

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return nothing: with one parameter, nothing is sampled jointly."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return nothing: with one parameter, nothing is sampled jointly."""
        return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> float:
        """Return the next value, given all trials of the study."""
        if not isinstance(param_distribution, FloatDistribution) or param_distribution.low < 0:
            raise ValueError(f"GapSampler needs a float >= 0, got {param_distribution!r}")
        if len(study.directions) != 2:
            raise ValueError(f"GapSampler needs two objectives, got {len(study.directions)}")
        tried: list[Tried] = [
            (t.params[param_name], t.values if t.state == TrialState.COMPLETE else None)
            for t in study.get_trials(deepcopy=False)
            if param_name in t.params
        ]
        scale: Scale = "log" if param_distribution.log else self._scale
        low, high = param_distribution.low, param_distribution.high
        return next_value(tried, low, high, scale=scale, margin=self._margin)


def next_value(
    tried: Sequence[Tried], low: float, high: float, *, scale: Scale = "log1p", margin: float = 0.0
) -> float:
    """Return the value in [low, high] to try next."""
    bend, unbend = AXES[scale]
    if margin:
        inside = margin * (bend(high) - bend(low))
        low, high = unbend(bend(low) + inside), unbend(bend(high) - inside)
    known = {value for value, _ in tried}
    for end in (low, high):
        if end not in known:
            return end
    u = np.array([bend(value) for value, _ in tried])
    risks = np.array(
        [objectives if _usable(objectives) else (np.nan, np.nan) for _, objectives in tried]
    )
    order = np.argsort(u, kind="stable")
    u, risks = u[order], _predicted(u[order], risks[order])
    widths = np.diff(u)
    wide = widths >= MIN_WIDTH * (bend(high) - bend(low))
    areas = np.prod(np.abs(np.diff(risks, axis=0)), axis=1) * wide
    # Without a rectangle, or any objectives yet, split the widest gap.
    gap = int(np.argmax(areas if areas.max(initial=0) > 0 else widths))
    return float(np.clip(unbend((u[gap] + u[gap + 1]) / 2), low, high))


def _usable(objectives: Sequence[float] | None) -> bool:
    return objectives is not None and all(map(isfinite, objectives))


def _predicted(u: np.ndarray, risks: np.ndarray) -> np.ndarray:
    """Interpolate missing objectives linearly between their neighbours on the axis.

    Args:
        u: (N,) positions on the axis, ascending.
        risks: (N, 2), nan where unknown.
    """
    done = ~np.isnan(risks).any(axis=1)
    if not done.any():
        return np.zeros_like(risks)
    return np.stack([np.interp(u, u[done], risks[done, i]) for i in range(2)], axis=1)
