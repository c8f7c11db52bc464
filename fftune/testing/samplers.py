"""Conformance test of search strategies: what a study relies on."""

from collections.abc import Callable
from dataclasses import replace
from math import isfinite
from typing import Any

import optuna

from fftune.config import Dimension, HedgeSweep, Settings, Study, SweepConfig, TrainConfig
from fftune.registry import STRATEGIES
from fftune.sweeping.samplers.spec import SamplerSpec, as_sampler_spec
from fftune.sweeping.search_space import params_of, suggest

TRIALS = 8
STUDIES: tuple[Study, ...] = (
    SweepConfig(),
    SweepConfig(base=TrainConfig(objective="thrm", lam=0.0)),
    SweepConfig(
        space=(
            Dimension(path="lam", high=100, scale="log1p"),
            Dimension(path="optimizer.lr", low=0.01, high=0.2, scale="log"),
            Dimension(path="optimizer.epochs", low=2, high=9),
            Dimension(path="objective", choices=("thrm", "trades")),
        )
    ),
    SweepConfig(space=(Dimension(path="lam", choices=(0, 6, 20)),)),
    HedgeSweep(),
)
"""Studies of one range, of every kind of dimension, of choices alone, and of three risks."""


def check_sampler(strategy: str | SamplerSpec | Callable[..., Any]) -> None:
    """Check a search strategy on every study of `STUDIES` that it accepts.

    Settings must lie in the space, whether trials run one after the other or several at once;
    trials that failed or were pruned must not stop the search; and a second sampler, on the same
    history, must propose the same settings, so that a study can be repeated.

    Args:
        strategy: a name or `FILE.py:NAME`, a record, a class of Optuna samplers, or a function of
            the study that returns a sampler.

    Raises:
        AssertionError: it does not conform; the message says how.
        ConfigError: there is no such strategy.
    """
    spec = as_sampler_spec(STRATEGIES[strategy] if isinstance(strategy, str) else strategy)
    accepted = [study for study in STUDIES if spec.accepts(study)]
    assert accepted, "it must accept a study of one range, of choices, or of several dimensions"
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for study in accepted:
        for at_once in (1, 3):
            for settings in _search(spec, study, at_once):
                _check_inside(study, settings)
        if not spec.exhaustive:
            assert _proposed(spec, study) == _proposed(spec, study), (
                "on the same history it must propose the same settings"
            )


def _search(spec: SamplerSpec, study: Study, at_once: int) -> list[Settings]:
    """Run a search with failed and pruned trials among it, several running at a time."""
    search = optuna.create_study(
        directions=["minimize"] * len(study.risks), sampler=spec.make(study)
    )
    queue = spec.queue(study)
    for settings in queue:
        search.enqueue_trial(params_of(settings, study))
    found: list[Settings] = []
    for first in range(0, len(queue) if spec.exhaustive else TRIALS, at_once):
        trials = [search.ask() for _ in range(at_once)]
        found += [suggest(trial, study) for trial in trials]
        for number, trial in enumerate(trials, first):
            if number % 4 == 2:
                search.tell(trial, state=optuna.trial.TrialState.FAIL)
            elif number % 4 == 3:
                search.tell(trial, state=optuna.trial.TrialState.PRUNED)
            else:
                risk = number / (2 * TRIALS)
                search.tell(trial, (risk, *(1 - risk,) * (len(study.risks) - 1)))
    return found


def _proposed(spec: SamplerSpec, study: Study) -> Settings:
    """Settings that a new sampler proposes after the history of another."""
    search = optuna.create_study(
        directions=["minimize"] * len(study.risks), sampler=spec.make(replace(study))
    )
    for i in range(TRIALS):
        trial = optuna.trial.FixedTrial(_corner(study, i))
        suggest(trial, study)
        risk = i / (2 * TRIALS)
        search.add_trial(
            optuna.trial.create_trial(
                params=trial.params,
                distributions=trial.distributions,
                values=(risk, *(1 - risk,) * (len(study.risks) - 1)),
            )
        )
    return suggest(search.ask(), study)


def _corner(study: Study, i: int) -> dict[str, Any]:
    """Parameters of settings that differ from trial to trial."""
    settings = {
        d.path: d.choices[i % len(d.choices)]
        if d.choices
        else type(d.low)(d.low + (d.high - d.low) * i / TRIALS)
        for d in study.dimensions
    }
    return params_of(settings, study)


def _check_inside(study: Study, settings: Settings) -> None:
    for d in study.dimensions:
        value = settings[d.path]
        if d.choices:
            assert value in d.choices, f"{d.path} must be one of {d.choices}, got {value!r}"
        else:
            inside = isfinite(value) and d.low <= value <= d.high
            assert inside, f"{d.path} must lie in [{d.low}, {d.high}], got {value!r}"
