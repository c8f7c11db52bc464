"""A study: many trainings, one front; and where it runs."""

import math
from dataclasses import dataclass, field

from fftune.config.checks import is_plain, require
from fftune.config.evaluation import BatteryConfig
from fftune.config.training import TrainConfig
from fftune.config.vocabulary import Selection, Strategy

PAPER_LAMBDAS = (0.0, 1.0, 5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepConfig:
    """A study: which lambdas are trained, how each is judged, where the points are chosen."""

    name: str = "study"
    experiment: str = "fftune"
    """MLflow experiment; studies of one experiment share data, threat and battery."""
    base: TrainConfig = field(default_factory=TrainConfig)
    battery: BatteryConfig = field(default_factory=BatteryConfig)
    strategy: Strategy = "gap"
    trials: int = 9
    """How many lambdas `gap` tries; `grid` tries each of `lam`."""
    lam: tuple[float, ...] = PAPER_LAMBDAS
    """The grid (the papers' nine); `gap` searches from its least to its greatest."""
    selection: Selection = "validation"
    """Where the front's points are chosen; `test` does as the papers did, and is optimistic."""

    def __post_init__(self) -> None:
        require("name", is_plain(self.name), "letters, digits, '.', '_' or '-'", self.name)
        require("experiment", self.experiment != "", "non-empty", self.experiment)
        require("trials", self.trials >= 1, ">= 1", self.trials)
        require("lam", len(set(self.lam)) == len(self.lam) > 0, "distinct values", self.lam)
        for lam in self.lam:
            require("lam", 0 <= lam < math.inf, ">= 0 and finite", lam)
        if self.strategy == "gap":
            require("lam", len(self.lam) > 1, "a range of at least two values for 'gap'", self.lam)
        require("base.lam", self.base.lam == 0, "left to the search (see lam)", self.base.lam)

    @property
    def planned(self) -> int:
        """How many trials make the study complete."""
        return len(self.lam) if self.strategy == "grid" else self.trials


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
