"""Optuna's own plots of a search: trials over time, and their objectives."""

import warnings
from typing import Any

import optuna
from optuna import visualization
from optuna.trial import FrozenTrial, TrialState


def search_plots(search: optuna.Study) -> dict[str, Any]:
    """Plot a search: Plotly figures by title, none while no trial is complete.

    Parallel coordinates come from two parameters on: with one they repeat the slice. Of more than
    two objectives each stands against the first, as in three dimensions nothing can be read off.
    """
    complete = search.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        return {}
    names = [name.replace("_", " ") for name in search.metric_names or ()]
    several = len(set().union(*(trial.params for trial in complete))) > 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        found = _pareto_fronts(search, names)
        for i, name in enumerate(names):
            of: dict[str, Any] = {"target": _Value(i), "target_name": name}
            history = visualization.plot_optimization_history(search, **of)
            found[f"{name.capitalize()}, trial by trial"] = history
            found[f"{name.capitalize()}, slice"] = visualization.plot_slice(search, **of)
            if several:
                parallel = visualization.plot_parallel_coordinate(search, **of)
                found[f"{name.capitalize()}, parallel coordinates"] = parallel
        found["Timeline"] = visualization.plot_timeline(search)
    return found


def _pareto_fronts(search: optuna.Study, names: list[str]) -> dict[str, Any]:
    several = len(names) > 2
    return {
        "Pareto front" + (f", {name}" if several else ""): visualization.plot_pareto_front(
            search, targets=_Pair(i) if several else None, target_names=[names[0], name]
        )
        for i, name in enumerate(names)
        if i
    }


class _Value:
    """Function that picks one objective of a trial."""

    def __init__(self, index: int) -> None:
        self._index = index

    def __call__(self, trial: FrozenTrial) -> float:
        return float(trial.values[self._index])


class _Pair(_Value):
    """Function that picks the first objective of a trial and another."""

    def __call__(self, trial: FrozenTrial) -> tuple[float, float]:  # type: ignore[override]
        return float(trial.values[0]), float(trial.values[self._index])
