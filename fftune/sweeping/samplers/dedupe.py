"""Sampler that tries no settings twice."""

from collections.abc import Hashable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from fftune.config import Study, every_setting
from fftune.sweeping.search_space import params_of, suggest

DRAWS = 100
"""Random draws before what is left of a small space is listed, and a larger one taken for
exhausted."""


class DedupeSampler(BaseSampler):
    """Wrap a sampler so that it never proposes two settings of equal `Study.effect`.

    A trial is deterministic, so repeating it gives nothing new. Samplers do not know that, nor
    that all hedges without a radius are equal: where the inner sampler proposes what an earlier
    trial has tried, random draws take its place until one is new.
    """

    def __init__(self, inner: BaseSampler, config: Study) -> None:
        self.inner = inner
        self._config = config
        self._random = RandomSampler(seed=config.sampler_seed)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        params = first = self.inner.sample_relative(study, trial, search_space)
        if not params:
            return params  # its model has nothing to go by yet
        tried = {self._effect(other.params) for other in self._others(study, trial)}
        for _ in range(DRAWS):
            if self._effect(params) not in tried:
                return params
            params = {
                name: self._random.sample_independent(study, trial, name, distribution)
                for name, distribution in search_space.items()
            }
        left = (s for s in every_setting(self._config) if self._config.effect(s) not in tried)
        return next((params_of(settings, self._config) for settings in left), first)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        self.inner.reseed_rng()
        self._random.reseed_rng()

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self.inner.before_trial(study, trial)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Any,
    ) -> None:
        self.inner.after_trial(study, trial, state, values)

    def _others(self, study: optuna.Study, trial: FrozenTrial) -> list[FrozenTrial]:
        """Other trials that have all their parameters, running ones included."""
        begun = study.get_trials(deepcopy=False)
        complete = len(self._config.dimensions)
        return [t for t in begun if t.number != trial.number and len(t.params) == complete]

    def _effect(self, params: dict[str, Any]) -> Hashable:
        return self._config.effect(suggest(FixedTrial(params), self._config))
