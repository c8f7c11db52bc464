"""Our strategies pass the conformance test; samplers that break a rule fail it."""

from pathlib import Path

import pytest
from optuna.samplers import NSGAIISampler, RandomSampler

from fftune.errors import ConfigError
from fftune.registry import STRATEGIES
from fftune.sweeping.samplers.spec import SamplerSpec
from fftune.testing.samplers import check_sampler

OWN = '''
from optuna.samplers import NSGAIISampler

def evolution(study):
    """NSGA-II, with the study's own seed."""
    return NSGAIISampler(seed=study.sampler_seed, population_size=4)
'''


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name == "gp" else ())
        for name in sorted(STRATEGIES.keys() - {"auto"})
    ],
)
def test_ours_conform(name: str) -> None:
    check_sampler(name)


def test_a_sampler_in_a_file_of_the_users_conforms(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    check_sampler(f"{tmp_path / 'own.py'}:evolution")


def test_a_sampler_without_a_seed_does_not() -> None:
    with pytest.raises(AssertionError, match="propose the same settings"):
        check_sampler(RandomSampler)


class Repeating(NSGAIISampler):
    """Breaks where a trial has failed."""

    def after_trial(self, study, trial, state, values) -> None:
        if values is None:
            raise ValueError("no values")


def test_a_sampler_that_a_failed_trial_stops_does_not() -> None:
    with pytest.raises(ValueError, match="no values"):
        check_sampler(lambda _study: Repeating(seed=0))


def test_what_searches_nothing_is_refused() -> None:
    with pytest.raises(AssertionError, match="must accept a study"):
        check_sampler(SamplerSpec(make=lambda _study: RandomSampler(), accepts=lambda _s: False))
    with pytest.raises(ConfigError, match="returns an Optuna sampler, got int"):
        check_sampler(3)
