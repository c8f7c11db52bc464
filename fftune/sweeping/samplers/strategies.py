"""Search strategies, each an Optuna sampler. `registry.STRATEGIES` names them."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import optuna
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

from fftune.config import Settings, Study, every_setting, is_whole
from fftune.errors import ConfigError
from fftune.sweeping.samplers.dedupe import DedupeSampler
from fftune.sweeping.samplers.gap import GapSampler
from fftune.sweeping.samplers.spec import SamplerSpec, sampler_spec
from fftune.sweeping.search_space import corners, params_of
from fftune.sweeping.study_kind import Lazy

_SHARED = "fftune.sweeping.one_net_trial"


def make_sampler(config: Study) -> BaseSampler:
    """Make the sampler of a study's strategy.

    Raises:
        ConfigError: a strategy of the user's returns no Optuna sampler; see `sampler_spec` too.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler: object = sampler_spec(config).make(config)
    if not isinstance(sampler, BaseSampler):
        got = type(sampler).__name__
        raise ConfigError(f"strategy {config.strategy!r} must make an Optuna sampler, got {got}")
    return sampler


def enqueue(search: optuna.Study, config: Study) -> None:
    """Queue the settings that a strategy tries first. Those already queued are left out."""
    for settings in sampler_spec(config).queue(config):
        search.enqueue_trial(params_of(settings, config), skip_if_exists=True)


def _gap(config: Study) -> BaseSampler:
    return GapSampler(scale=config.dimensions[0].scale, margin=config.margin)


def _one_range(config: Study) -> bool:
    """Accept one range of floats >= 0 and two risks."""
    if len(config.dimensions) != 1 or len(config.risks) != 2:
        return False
    (only,) = config.dimensions
    ranged = not only.choices and 0 <= only.low < only.high
    return ranged and not is_whole(config.base, only.path)


def _gp(config: Study) -> BaseSampler:
    gp = GPSampler(seed=config.sampler_seed, n_startup_trials=len(corners(config)))
    return DedupeSampler(gp, config)


def _tpe(config: Study) -> BaseSampler:
    tpe = TPESampler(
        seed=config.sampler_seed,
        n_startup_trials=len(corners(config)),
        multivariate=True,
        constant_liar=True,
    )
    return DedupeSampler(tpe, config)


def _random(config: Study) -> BaseSampler:
    return RandomSampler(seed=config.sampler_seed)


def _shuffled(config: Study) -> Sequence[Settings]:
    """Draw the settings of a small space without repetition; of others, queue nothing."""
    every = list(every_setting(config))
    Random(config.sampler_seed).shuffle(every)  # noqa: S311 - nothing is secret
    return every[: config.trials]


GAP = SamplerSpec(
    make=_gap,
    accepts=_one_range,
    needs="one range of floats from 0 on and two risks ('gp' takes any)",
    reads=("trials", "margin"),
    own_axis=True,
    bounded=False,
)
GRID = SamplerSpec(
    make=_random,  # never asked: all of the search is queued
    queue=lambda config: config.grid,
    exhaustive=True,
    accepts=lambda config: bool(config.grid),
    needs="choices, as in lam=0,1,5",
    reads=(),
    own_axis=True,
    trains=Lazy("fftune.sweeping.fused_trial:train_in_group"),
)
ONE_NET = SamplerSpec(
    make=_random,  # as for `grid`
    queue=lambda config: config.grid,
    exhaustive=True,
    accepts=Lazy(f"{_SHARED}:has_one_net"),
    needs="lambda of thrm or trades alone, several values, without rungs or phases",
    reads=("one_net_length",),
    own_axis=True,
    trains=Lazy(f"{_SHARED}:read_off"),
    trainings=Lazy(f"{_SHARED}:one_net_of"),
)
SOUP = replace(
    ONE_NET,
    accepts=Lazy(f"{_SHARED}:is_over_lambda"),
    needs="lambda alone, several values, without rungs or phases",
    reads=(),
    trains=Lazy(f"{_SHARED}:blend"),
    trainings=Lazy(f"{_SHARED}:ends_of"),
)
DRAWN = ("trials", "sampler_seed")
"""Settings that a random search reads."""
GP = SamplerSpec(make=_gp, queue=corners, reads=DRAWN)
TPE = SamplerSpec(make=_tpe, queue=corners, reads=DRAWN)
RANDOM = SamplerSpec(make=_random, queue=_shuffled, reads=DRAWN)
AUTO = SamplerSpec(
    make=make_sampler,
    stands_for=lambda config: "gap" if GAP.accepts(config) and not config.where else "gp",
)
