"""Records of search strategies: how a sampler is made, and which studies it can search."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from optuna.samplers import BaseSampler

from fftune.config import Settings, Study, TrainConfig, every_setting, require
from fftune.errors import ConfigError
from fftune.registry import STRATEGIES, is_of_file, require_call


def _any_study(_config: Study) -> bool:
    """Accept every study."""
    return True


def _nothing(_config: Study) -> Sequence[Settings]:
    """Queue nothing."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerSpec:
    """A search strategy: an entry of `registry.STRATEGIES`."""

    make: Callable[[Study], BaseSampler]
    """Make the sampler of a study."""
    queue: Callable[[Study], Sequence[Settings]] = _nothing
    """Settings that are tried, in this order, before the sampler is asked."""
    exhaustive: bool = False
    """The queue is the whole search: its length is the number of trials."""
    accepts: Callable[[Study], bool] = _any_study
    """Tell if the strategy can search a study."""
    needs: str = "any"
    """Spaces that `accepts` takes, for its error message."""
    own_axis: bool = False
    """The sampler itself searches a `log1p` range evenly, an axis that Optuna does not know."""
    reads: tuple[str, ...] | None = None
    """Those of the settings `trials`, `margin` and `sampler_seed` that it reads; None: any."""
    trains: Callable[..., int] | None = None
    """`trains(run)` leaves the net of one `SeedRun` in its folder, with the history of training,
    and returns the number of examples that were crafted for it; None: each trial trains its own."""
    trainings: Callable[[Study], Sequence[TrainConfig]] | None = None
    """The trainings, of the first seed, that all trials of a study share; None: none."""
    bounded: bool = True
    """It may search a study with bounds, `Study.where`; Optuna's samplers that know constraints
    stay below them."""
    stands_for: Callable[[Study], str] | None = None
    """Name of the strategy that is used in this one's place."""


def strategy_of(config: Study) -> str:
    """Name of the strategy that searches a study: its own, or what `auto` stands for."""
    name = config.strategy
    if is_of_file(name):  # workers need the name alone, and may lack the file
        return name
    spec: SamplerSpec = STRATEGIES[name]
    return spec.stands_for(config) if spec.stands_for else name


def sampler_spec(config: Study) -> SamplerSpec:
    """Record of the strategy that searches a study.

    Raises:
        ConfigError: a file of the user's is missing, fails, or defines no strategy.
    """
    return as_sampler_spec(_entry(strategy_of(config)))


def as_sampler_spec(entry: Any) -> SamplerSpec:
    """Turn an entry into a record.

    Args:
        entry: a record, a class of Optuna samplers that is made without arguments, or a function
            of the study that returns an Optuna sampler.

    Raises:
        ConfigError: it is none of these.
    """
    if isinstance(entry, SamplerSpec):
        return entry
    if isinstance(entry, type) and issubclass(entry, BaseSampler):
        sampler: type[BaseSampler] = entry
        return SamplerSpec(make=lambda _config: sampler())
    if callable(entry):
        require_call("strategy", entry, None)
        return SamplerSpec(make=entry)
    raise ConfigError(
        "strategy must be a SamplerSpec, or a function of the study that returns an Optuna "
        f"sampler, got {type(entry).__name__}"
    )


@cache
def _entry(name: str) -> Any:
    """Look up a strategy; a user's file runs once."""
    return STRATEGIES[name]


def check_strategy(config: Study) -> None:
    """Refuse a study that its strategy cannot search.

    Raises:
        ConfigError: the space is not what the strategy needs.
    """
    spec, name = sampler_spec(config), strategy_of(config)
    for d in config.dimensions:
        several = bool(d.choices) or d.low < d.high or spec.exhaustive
        rule = f"a range of at least two values for strategy {name!r}"
        require(d.path, several, rule, f"{d.low:g} to {d.high:g}")
    if not spec.accepts(config):
        space = " ".join(map(str, config.dimensions))
        raise ConfigError(f"space must be {spec.needs} for strategy {name!r}, got {space!r}")
    if config.where and not spec.bounded:
        raise ConfigError(
            f"where must be left out with strategy {name!r}, which knows no bounds ('gp' does)"
        )


def planned(config: Study) -> int:
    """Number of trials that make a study complete: no more than there are settings.

    A trial is deterministic, so that to repeat one would give nothing new.
    """
    spec = sampler_spec(config)
    if spec.exhaustive:
        return len(spec.queue(config))
    return min(config.trials, len(every_setting(config)) or config.trials)
