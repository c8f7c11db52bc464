"""A study: many trainings, one front; and where it runs."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from typing import Any

from fftune.config.evaluation import BatteryConfig
from fftune.config.literals import Selection, Strategy
from fftune.config.search_space import Dimension, Settings, check_space, is_whole
from fftune.config.training import TrainConfig
from fftune.config.validation import is_plain, require

PAPER_LAMBDAS = (0.0, 1.0, 5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingConfig:
    """Early stopping of trials that others have left behind; see `sweeping.early_stopping`."""

    rungs: tuple[int, ...] = ()
    """Epochs after which a trial is compared with the others; none stops nobody."""
    eta: float = 2.0
    """At a rung the best 1 / eta of the trials go on whatever their intervals say."""
    examples: int = 250
    """Of the validation split, on which a rung's risks are counted."""
    steps: int = 5
    """Of the attack at a rung; the final battery is untouched by it."""

    def __post_init__(self) -> None:
        ascending = all(a < b for a, b in pairwise((0, *self.rungs)))
        require("rungs", ascending, "ascending epochs, 1 or later", self.rungs)
        require("eta", 1 < self.eta < math.inf, "> 1", self.eta)
        require("examples", self.examples >= 1, ">= 1", self.examples)
        require("steps", self.steps >= 1, ">= 1", self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What every study has: a base whose fields are searched, a rule, and where points are chosen.

    `SweepConfig` searches trainings, `HedgeSweep` a defence of one net.
    """

    name: str = "study"
    experiment: str = "fftune"
    """MLflow experiment; studies of one experiment share data, threat and battery."""
    base: Any
    strategy: Strategy = "auto"
    """`auto` is `gap` for one range, `gp` for more or for choices; `grid` tries each of `lam`, or
    every combination of choices."""
    trials: int = 9
    """How many points are tried; `grid` tries all of its own."""
    space: tuple[Dimension, ...] = ()
    """What is searched, instead of the default: fields of `base` by their paths, each a range or
    choices, as in `lam=0:100:log1p optimizer.lr=0.01:0.2:log objective=thrm,trades`."""
    margin: float = 0.0
    """`gap` begins so far inside the range, a share of its axis: 0 runs both ends, 0.05 puts all
    models to the front's middle."""
    sampler_seed: int = 0
    """Of `gp`, `tpe` and `random`."""
    attempts: int = 3
    """A trial that fails so often is recorded as failed; the others go on."""
    selection: Selection = "validation"
    """Where the front's points are chosen; `test` does as the papers did, and is optimistic."""

    def __post_init__(self) -> None:
        require("name", is_plain(self.name), "letters, digits, '.', '_' or '-'", self.name)
        require("experiment", self.experiment != "", "non-empty", self.experiment)
        require("trials", self.trials >= 1, ">= 1", self.trials)
        require("margin", 0 <= self.margin < 0.5, "in [0, 0.5)", self.margin)
        require("sampler_seed", self.sampler_seed >= 0, ">= 0", self.sampler_seed)
        require("attempts", self.attempts >= 1, ">= 1", self.attempts)
        check_space(self.base, self.space)
        self._check_strategy()

    def _check_strategy(self) -> None:
        if self.strategy == "grid":
            rule = "choices, as in lam=0,1,5 for 'grid'"
            choices = all(d.choices for d in self.dimensions)
            require("space", choices, rule, _told(self.dimensions))
        elif self.strategy == "gap":
            rule = "one range of floats from 0 on for 'gap' ('gp' takes any)"
            require("space", self._bisectable, rule, _told(self.dimensions))

    @property
    def method(self) -> str:
        """What its points are points of."""
        raise NotImplementedError

    @property
    def risks(self) -> tuple[str, ...]:
        """What is to be small: natural risk, and what it is traded for."""
        return ("natural_risk", "hypocritical_risk")

    @property
    def seeds(self) -> int:
        """How often every point is made."""
        return 1

    @property
    def stopping(self) -> StoppingConfig:
        """When trials are stopped early: never, unless they have epochs."""
        return StoppingConfig()

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """What is searched."""
        return self.space

    @property
    def rule(self) -> Strategy:
        """The strategy that `auto` stands for."""
        if self.strategy != "auto":
            return self.strategy
        return "gap" if self._bisectable else "gp"

    @property
    def _bisectable(self) -> bool:
        ranges = all(
            not d.choices and d.low >= 0 and not is_whole(self.base, d.path) for d in self.space
        )
        return ranges and len(self.space) <= 1

    @property
    def known(self) -> tuple[Settings, ...]:
        """Points worth a trial before any search."""
        return ()

    def effect(self, settings: Settings) -> Hashable:
        """What the settings come to; those of equal effect need not be tried twice."""
        return tuple(settings.items())

    @property
    def grid(self) -> tuple[Settings, ...]:
        """What `grid` tries."""
        return _product(self.dimensions)

    @property
    def planned(self) -> int:
        """How many trials make the study complete."""
        return len(self.grid) if self.strategy == "grid" else self.trials

    @property
    def training_seeds(self) -> range:
        """The seeds that each point is made with."""
        return range(self.base.seed, self.base.seed + self.seeds)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepConfig(Study):
    """A study of trainings: lambda, or any other field of `base`, against both risks."""

    base: TrainConfig = field(default_factory=TrainConfig)
    battery: BatteryConfig = field(default_factory=BatteryConfig)
    lam: tuple[float, ...] = PAPER_LAMBDAS
    """The grid (the papers' nine); the other strategies search from its least to its greatest."""
    seeds: int = 1
    """Every point is trained so often, with seeds from `base.seed` on; fronts are of means."""
    stopping: StoppingConfig = field(default_factory=StoppingConfig)

    def __post_init__(self) -> None:
        require("lam", len(set(self.lam)) == len(self.lam) > 0, "distinct values", self.lam)
        for lam in self.lam:
            require("lam", 0 <= lam < math.inf, ">= 0 and finite", lam)
        require("seeds", self.seeds >= 1, ">= 1", self.seeds)
        alone = not self.stopping.rungs or self.base.workers == 1
        require("stopping.rungs", alone, "empty where base.workers > 1", self.stopping.rungs)
        Study.__post_init__(self)  # slots leave no super()
        if "lam" in (d.path for d in self.dimensions):
            require("base.lam", self.base.lam == 0, "left to the search (see lam)", self.base.lam)

    def _check_strategy(self) -> None:
        if self.space:
            Study._check_strategy(self)
            return
        ranged = len(self.lam) > 1 or self.strategy == "grid"
        require("lam", ranged, f"a range of at least two values for '{self.rule}'", self.lam)

    @property
    def method(self) -> str:
        """The objective that trains, or all that are tried."""
        tried = [d.choices for d in self.space if d.path == "objective"]
        return "+".join(map(str, tried[0])) if tried else self.base.objective

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """What is searched: `space`, or the range of `lam`."""
        if self.space or len(self.lam) < 2:
            return self.space
        return (Dimension(path="lam", low=min(self.lam), high=max(self.lam), scale="log1p"),)

    @property
    def grid(self) -> tuple[Settings, ...]:
        """What `grid` tries."""
        return _product(self.space) if self.space else tuple({"lam": lam} for lam in self.lam)


def _product(space: Sequence[Dimension]) -> tuple[Settings, ...]:
    """Every combination of choices."""
    paths, each = [d.path for d in space], product(*(d.choices for d in space))
    return tuple(dict(zip(paths, values, strict=True)) for values in each)


def _told(space: Sequence[Dimension]) -> str:
    return " ".join(map(str, space))


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Where a sweep runs and what a trial takes; none of it may change a number."""

    address: str | None = None
    """A Ray cluster to join; without it `RAY_ADDRESS`, else a private one on this machine."""
    concurrency: int | None = None
    """Trials at once; none stands for as many as the cluster holds."""
    gpus: float = 0.0
    """GPUs of one trial, or of each of its workers; fractions share one."""

    def __post_init__(self) -> None:
        require("concurrency", (self.concurrency or 1) >= 1, ">= 1", self.concurrency)
        require("gpus", 0 <= self.gpus < math.inf, ">= 0", self.gpus)
