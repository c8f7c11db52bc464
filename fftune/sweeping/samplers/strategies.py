"""Which Optuna sampler a strategy is. All of them serve any study of these objectives."""

import warnings

import optuna
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

from fftune.config import Study
from fftune.sweeping.samplers.dedupe import DedupeSampler
from fftune.sweeping.samplers.gap import GapSampler
from fftune.sweeping.search_space import corners, params_of


def make_sampler(config: Study) -> BaseSampler:
    """The sampler of a study's strategy; `grid` asks it only for what is queued."""
    seed, begins = config.sampler_seed, len(config.dimensions) and len(corners(config))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if config.rule == "gp":
            return DedupeSampler(GPSampler(seed=seed, n_startup_trials=begins), config)
        if config.rule == "tpe":
            tpe = TPESampler(
                seed=seed, n_startup_trials=begins, multivariate=True, constant_liar=True
            )
            return DedupeSampler(tpe, config)
    if config.rule == "random":
        return RandomSampler(seed=seed)
    scale = config.dimensions[0].scale if config.dimensions else "log1p"
    return GapSampler(scale=scale, margin=config.margin)


def enqueue(search: optuna.Study, config: Study) -> None:
    """Queue what a strategy tries before it is asked: the grid, or the corners. Once only."""
    queued = {"grid": config.grid, "gp": None, "tpe": None}.get(config.rule, ())
    for settings in corners(config) if queued is None else queued:
        search.enqueue_trial(params_of(settings, config), skip_if_exists=True)
