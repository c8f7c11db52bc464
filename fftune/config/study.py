"""A study: many trainings, one front; and where it runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product

from fftune.config.checks import is_plain, require
from fftune.config.evaluation import BatteryConfig
from fftune.config.space import Dimension, Settings, check_space, is_whole
from fftune.config.training import TrainConfig
from fftune.config.vocabulary import Selection, Strategy

PAPER_LAMBDAS = (0.0, 1.0, 5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingConfig:
    """When trials that others have left behind are stopped; see `fftune.sweep.stopping`."""

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
class SweepConfig:
    """A study: what is searched, how each point is judged, where the points are chosen."""

    name: str = "study"
    experiment: str = "fftune"
    """MLflow experiment; studies of one experiment share data, threat and battery."""
    base: TrainConfig = field(default_factory=TrainConfig)
    battery: BatteryConfig = field(default_factory=BatteryConfig)
    strategy: Strategy = "auto"
    """`auto` is `gap` for one range, `gp` for more or for choices; `grid` tries each of `lam`, or
    every combination of choices."""
    trials: int = 9
    """How many points are tried; `grid` tries all of its own."""
    lam: tuple[float, ...] = PAPER_LAMBDAS
    """The grid (the papers' nine); the other strategies search from its least to its greatest."""
    space: tuple[Dimension, ...] = ()
    """What is searched, instead of `lam`: fields of `base` by their paths, each a range or
    choices, as in `lam=0:100:log1p optimizer.lr=0.01:0.2:log objective=thrm,trades`."""
    margin: float = 0.0
    """`gap` begins so far inside the range, a share of its axis: 0 runs both ends, 0.05 puts all
    models to the front's middle."""
    sampler_seed: int = 0
    """Of `gp`, `tpe` and `random`."""
    seeds: int = 1
    """Every point is trained so often, with seeds from `base.seed` on; fronts are of means."""
    attempts: int = 3
    """A trial that fails so often is recorded as failed; the others go on."""
    stopping: StoppingConfig = field(default_factory=StoppingConfig)
    selection: Selection = "validation"
    """Where the front's points are chosen; `test` does as the papers did, and is optimistic."""

    def __post_init__(self) -> None:
        require("name", is_plain(self.name), "letters, digits, '.', '_' or '-'", self.name)
        require("experiment", self.experiment != "", "non-empty", self.experiment)
        require("trials", self.trials >= 1, ">= 1", self.trials)
        require("lam", len(set(self.lam)) == len(self.lam) > 0, "distinct values", self.lam)
        for lam in self.lam:
            require("lam", 0 <= lam < math.inf, ">= 0 and finite", lam)
        require("margin", 0 <= self.margin < 0.5, "in [0, 0.5)", self.margin)
        require("sampler_seed", self.sampler_seed >= 0, ">= 0", self.sampler_seed)
        require("seeds", self.seeds >= 1, ">= 1", self.seeds)
        require("attempts", self.attempts >= 1, ">= 1", self.attempts)
        alone = not self.stopping.rungs or self.base.workers == 1
        require("stopping.rungs", alone, "empty where base.workers > 1", self.stopping.rungs)
        check_space(self.base, self.space)
        self._check_strategy()
        if "lam" in (d.path for d in self.dimensions):
            require("base.lam", self.base.lam == 0, "left to the search (see lam)", self.base.lam)

    def _check_strategy(self) -> None:
        if not self.space:
            ranged = len(self.lam) > 1 or self.strategy == "grid"
            require("lam", ranged, f"a range of at least two values for '{self.rule}'", self.lam)
        elif self.strategy == "grid":
            rule = "choices, as in lam=0,1,5 for 'grid'"
            require("space", all(d.choices for d in self.space), rule, _told(self.space))
        elif self.strategy == "gap":
            rule = "one range of floats from 0 on for 'gap' ('gp' takes any)"
            require("space", self._bisectable, rule, _told(self.space))

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """What is searched: `space`, or the range of `lam`."""
        if self.space or len(self.lam) < 2:
            return self.space
        return (Dimension(path="lam", low=min(self.lam), high=max(self.lam), scale="log1p"),)

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
    def grid(self) -> tuple[Settings, ...]:
        """What `grid` tries."""
        if not self.space:
            return tuple({"lam": lam} for lam in self.lam)
        paths = [d.path for d in self.space]
        each = product(*(d.choices for d in self.space))
        return tuple(dict(zip(paths, values, strict=True)) for values in each)

    @property
    def planned(self) -> int:
        """How many trials make the study complete."""
        return len(self.grid) if self.strategy == "grid" else self.trials

    @property
    def training_seeds(self) -> range:
        """The seeds that each point is trained with."""
        return range(self.base.seed, self.base.seed + self.seeds)


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
    """GPUs of one trial; fractions share one."""

    def __post_init__(self) -> None:
        require("concurrency", (self.concurrency or 1) >= 1, ">= 1", self.concurrency)
        require("gpus", 0 <= self.gpus < math.inf, ">= 0", self.gpus)
