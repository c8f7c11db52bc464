"""Settings of a study: what is searched, by which strategy, and where its trials run."""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise, product
from typing import Any, ClassVar, Literal, cast

from fftune.config.bound import Bound, check_bounds
from fftune.config.evaluation import BatteryConfig
from fftune.config.literals import Selection, StoppingRule
from fftune.config.search_space import Dimension, Settings, check_space, is_whole
from fftune.config.serialization import SINCE, from_json, to_json
from fftune.config.training import TrainConfig
from fftune.config.validation import require, require_words
from fftune.names import is_label, require_name
from fftune.registry import STRATEGIES, STUDIES

PAPER_LAMBDAS = (0.0, 1.0, 5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0)
MOST_SETTINGS = 10_000
"""Settings of a space up to which they are listed."""
KIND = "kind"
"""Key of a stored study that says its kind, where the other settings do not tell it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingConfig:
    """Early stopping of trials that others leave behind, as `sweeping.early_stopping` does it."""

    rungs: tuple[int, ...] = ()
    """Epochs after which trials are compared, ascending; default none, and no trial is stopped."""
    eta: float = 2.0
    """Factor of reduction, > 1: the best 1 / eta of the trials at a rung always continue."""
    rule: StoppingRule = field(default="fronts", metadata={SINCE: 7})
    """Rule of a rung. `fronts` stops trials that others beat in every risk even at their best
    (Wilson's intervals); `moasha` all but the best 1 / eta, whose front it cuts (Schmucker et
    al. 2021)."""
    examples: int = 250
    """Validation examples on which the risks at a rung are counted, >= 1."""
    steps: int = 5
    """Steps of the attack at a rung, >= 1; the final battery is not affected."""

    def __post_init__(self) -> None:
        require_words(self)
        ascending = all(a < b for a, b in pairwise((0, *self.rungs)))
        require("rungs", ascending, "ascending epochs, 1 or later", self.rungs)
        require("eta", 1 < self.eta < math.inf, "> 1", self.eta)
        require("examples", self.examples >= 1, ">= 1", self.examples)
        require("steps", self.steps >= 1, ">= 1", self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Study(ABC):
    """Settings that every kind of study has, and the questions that every kind answers.

    A kind is a frozen dataclass that adds its own settings and answers what is abstract here:
    `SweepConfig` searches trainings, `HedgeSweep` a defense of one model. Code that serves any
    kind looks the rest up in `registry.STUDIES[config.kind]`.
    """

    kind: ClassVar[str]
    """Name of the kind in `registry.STUDIES`, or `/path/to/FILE.py:NAME` of a user's own."""
    risks: ClassVar[tuple[str, ...]] = ("natural_risk", "hypocritical_risk")
    """Rates of `RiskCounts` to minimize: natural risk first, then those it is traded for."""
    shows: ClassVar[tuple[str, ...]] = ()
    """Fields that no trial depends on: a finished study is shown with others, not searched anew."""

    name: str = "study"
    """Name of the study's folder, of letters, digits, '.', '_' and '-'."""
    experiment: str = "fftune"
    """MLflow experiment; studies of one experiment share data, threat and battery."""
    base: Any
    """Settings of one trial, in which the search replaces fields."""
    strategy: str = "auto"
    """Search strategy. `auto` is `gap` for one range and two risks without `where`, else `gp`;
    `grid` tries each of `lam`, or every combination of choices; `one-net` and `soup` read each of
    `lam` off two trainings; or `tpe`, `random`, or a sampler of your own as `FILE.py:NAME`."""
    trials: int = 9
    """Number of trials, >= 1. `grid` tries all of its own."""
    space: tuple[Dimension, ...] = ()
    """Settings to search; default lambda, or a hedge's. They are those of `base` by their
    paths, and each is a range or choices, as in `lam=0:100:log1p optimizer.lr=0.01:0.2:log
    objective=thrm,trades`."""
    where: tuple[Bound, ...] = field(default=(), metadata={SINCE: 7})
    """Bounds, as `natural_risk <= 0.12`; default none. `gp` and `tpe` minimize the other risk
    below them; of other searches the report tells which trials keep them."""
    margin: float = 0.0
    """Share of the axis, in [0, 0.5), that `gap` leaves out at both ends: 0 tries both ends, 0.05
    puts all models into the front's middle."""
    sampler_seed: int = 0
    """Seed of `gp`, `tpe` and `random`, >= 0."""
    attempts: int = 3
    """Attempts at a trial whose worker dies or that meets what nobody foresaw, >= 1; then the study
    ends, and `--resume` tries it again. A loss that diverges fails a trial; others go on."""
    selection: Selection = "validation"
    """Split that decides which trials form the front; `test` does as the papers did, and is
    optimistic."""

    def __post_init__(self) -> None:
        require_words(self)
        object.__setattr__(self, "name", require_name("name", self.name))
        require("experiment", is_label(self.experiment), "a printable line", self.experiment)
        require("trials", self.trials >= 1, ">= 1", self.trials)
        require("margin", 0 <= self.margin < 0.5, "in [0, 0.5)", self.margin)
        require("sampler_seed", self.sampler_seed >= 0, ">= 0", self.sampler_seed)
        require("attempts", self.attempts >= 1, ">= 1", self.attempts)
        STRATEGIES.check("strategy", self.strategy)
        check_space(self.base, self.space)
        check_bounds(self.where, self.risks)

    @property
    @abstractmethod
    def method(self) -> str:
        """Name of what the front is a front of: a training objective, or `hedge`."""

    @property
    @abstractmethod
    def dimensions(self) -> tuple[Dimension, ...]:
        """Fields that are searched: `space`, or the kind's default."""

    @property
    def sought(self) -> tuple[str, ...]:
        """Risks that the search minimizes: all, or with bounds those without one, or the last."""
        bounded = {bound.risk for bound in self.where}
        return tuple(risk for risk in self.risks if risk not in bounded) or self.risks[-1:]

    @property
    @abstractmethod
    def training_seeds(self) -> range:
        """Seeds that each trial runs with, one result each."""

    @property
    @abstractmethod
    def early_stopping(self) -> StoppingConfig:
        """Rule by which trials are stopped early."""

    @property
    @abstractmethod
    def known(self) -> tuple[Settings, ...]:
        """Settings that a model-based search tries first."""

    @property
    @abstractmethod
    def grid(self) -> tuple[Settings, ...]:
        """Settings that `grid` tries; empty where a dimension is a range."""

    @abstractmethod
    def effect(self, settings: Settings) -> Hashable:
        """Canonical form of settings: those of equal form give equal rows and run once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepConfig(Study):
    """A study of trainings: lambda, or any other field of `base`, against both risks."""

    kind: ClassVar[str] = "lambda"

    base: TrainConfig = field(default_factory=TrainConfig)
    """The training of one trial, in which the search replaces settings."""
    battery: BatteryConfig = field(default_factory=BatteryConfig)
    """Attacks that count the risks of every trained model."""
    lam: tuple[float, ...] = PAPER_LAMBDAS
    """Weights of the second term. The grid tries each; other strategies search from the least to
    the greatest."""
    one_net_length: float = field(default=2.5, metadata={SINCE: 7})
    """Epochs of the one training of `one-net`, in those of a training of one lambda, > 0."""
    seeds: int = 1
    """Trainings per trial, >= 1. Their seeds are those from `base.seed` on; fronts are of means."""
    variants: bool = field(default=False, metadata={SINCE: 7})
    """Evaluate the other nets of each training as well, the average of its weights and the one
    that did best on validation images: their fronts are compared, and are not as published."""
    stopping: StoppingConfig = field(default_factory=StoppingConfig)
    fuse: int = field(default=1, metadata={SINCE: 7})
    """Lambdas above 0 that `grid` trains side by side in one process, in 1 ... 128, in the order of
    `lam`. It pays where a net alone leaves a card idle; weights are those of separate trainings
    but for rounding."""

    def __post_init__(self) -> None:
        require_words(self)
        some = self.base.average_decay > 0 or self.base.validate_every != 0
        require("variants", some or not self.variants, "off where trainings keep none", True)
        require("lam", len(set(self.lam)) == len(self.lam) > 0, "distinct values", self.lam)
        for lam in self.lam:
            require("lam", 0 <= lam < math.inf, ">= 0 and finite", lam)
        require("seeds", self.seeds >= 1, ">= 1", self.seeds)
        length = self.one_net_length
        require("one_net_length", length * self.base.optimizer.epochs >= 0.5, "an epoch", length)
        alone = not self.stopping.rungs or self.base.workers == 1
        require("stopping.rungs", alone, "empty where base.workers > 1", self.stopping.rungs)
        last, searched = self.base.optimizer.epochs, {one.path for one in self.space}
        reached = "optimizer.epochs" in searched or max(self.stopping.rungs, default=0) <= last
        rule = f"at most the last epoch, {last}"
        require("stopping.rungs", reached, rule, self.stopping.rungs)
        Study.__post_init__(self)  # slots leave no super()
        if "lam" in (d.path for d in self.dimensions):
            require("base.lam", self.base.lam == 0, "left to the search (see lam)", self.base.lam)
        self._check_fuse()

    def _check_fuse(self) -> None:
        """Lambdas go side by side where all are known before, and nothing else sets them apart."""
        require("fuse", 1 <= self.fuse <= 128, "in 1 ... 128", self.fuse)
        for free, where in (
            (self.strategy == "grid", "without --strategy grid"),
            ([d.path for d in self.dimensions] == ["lam"], "where more than lam is searched"),
            (not self.stopping.rungs, "with stopping.rungs"),
            (self.base.workers == 1, "where base.workers > 1"),
        ):
            require("fuse", free or self.fuse == 1, f"1 {where}", self.fuse)

    @property
    def method(self) -> str:
        """Training objective, or all that are searched, joined by "+"."""
        tried = [d.choices for d in self.space if d.path == "objective"]
        return "+".join(map(str, tried[0])) if tried else self.base.objective

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """Fields that are searched: `space`, or lambda over the range of `lam`."""
        lam = Dimension(path="lam", low=min(self.lam), high=max(self.lam), scale="log1p")
        return self.space or (lam,)

    @property
    def training_seeds(self) -> range:
        """Training seeds of each trial, ascending from `base.seed`."""
        return range(self.base.seed, self.base.seed + self.seeds)

    @property
    def early_stopping(self) -> StoppingConfig:
        """Rule by which trainings are stopped early: `stopping`."""
        return self.stopping

    @property
    def known(self) -> tuple[Settings, ...]:
        """Settings tried first: none are known to be good."""
        return ()

    @property
    def grid(self) -> tuple[Settings, ...]:
        """Settings that `grid` tries: each of `lam`, or every combination of choices."""
        return combinations(self.space) if self.space else tuple({"lam": x} for x in self.lam)

    def effect(self, settings: Settings) -> Hashable:
        """Canonical form of settings: all values count."""
        return tuple(settings.items())


def combinations(space: Sequence[Dimension]) -> tuple[Settings, ...]:
    """Every combination of the dimensions' choices; empty where one is a range."""
    paths, each = [d.path for d in space], product(*(d.choices for d in space))
    return tuple(dict(zip(paths, values, strict=True)) for values in each)


def every_setting(config: Study) -> tuple[Settings, ...]:
    """Settings of a study of distinct effect; empty where there are more than `MOST_SETTINGS`."""
    each: list[Sequence[Any]] = []
    for d in config.dimensions:
        if not d.choices and not is_whole(config.base, d.path):
            return ()
        each.append(d.choices or range(int(d.low), int(d.high) + 1))
    if math.prod(map(len, each)) > MOST_SETTINGS:
        return ()
    paths, distinct = [d.path for d in config.dimensions], dict[Hashable, Settings]()
    for values in product(*each):
        settings = dict(zip(paths, values, strict=True))
        distinct.setdefault(config.effect(settings), settings)
    return tuple(distinct.values())


def study_json(config: Study) -> str:
    """Settings of a study as stored; `study_of` gives back an equal study of the same kind."""
    text = to_json(config)
    data = json.loads(text)
    if _kind_in(data) == config.kind:
        return text
    return json.dumps({KIND: config.kind} | data, indent=2) + "\n"


def study_of(text: str) -> Study:
    """Rebuild a study of any kind from what `study_json` wrote.

    Raises:
        ConfigError: the kind is unknown, or a setting is wrong; see `from_json`.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None  # from_json reports what is wrong with the text
    kind = _kind_in(data) if isinstance(data, Mapping) else SweepConfig.kind
    if isinstance(data, Mapping) and KIND in data:
        text = json.dumps({key: value for key, value in data.items() if key != KIND})
    return cast("Study", from_json(kind_record(kind).config, text))


@cache
def kind_record(kind: str) -> Any:
    """Look up a kind of study, a `sweeping.study_kind.StudyKind`; a user's file runs once.

    Raises:
        ConfigError: there is no such kind, or its file fails.
    """
    return STUDIES[kind]


def _kind_in(data: Mapping[str, Any]) -> str:
    """Kind of stored settings. fftune 0.1.0 stored none: hedges were told by their radius."""
    base = data.get("base")
    hedge = isinstance(base, Mapping) and "eps_d" in base
    return str(data.get(KIND, "hedge" if hedge else SweepConfig.kind))


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Cluster and devices of a run; none of them may change a number."""

    address: str | None = None
    """Address of a Ray cluster to join; default `RAY_ADDRESS`, else a private one on this
    machine."""
    concurrency: int | None = None
    """Trials at once, >= 1; default as many as the cluster holds."""
    gpus: float | Literal["auto"] = 0.0
    """GPUs of one trial, or of each of its workers, >= 0. Fractions share one. `auto` lets a sweep
    measure how many trials a card's memory holds."""

    def __post_init__(self) -> None:
        require_words(self)
        some = self.concurrency is None or self.concurrency >= 1
        require("concurrency", some, ">= 1", self.concurrency)
        if self.gpus != "auto":
            require("gpus", 0 <= self.gpus < math.inf, ">= 0", self.gpus)

    @property
    def share(self) -> float:
        """GPUs as a number, for whom nothing measures what `auto` is.

        Raises:
            ConfigError: `auto`, which is for sweeps.
        """
        number = self.gpus != "auto"
        require("gpus", number, "a number where nothing is searched", self.gpus)
        return cast("float", self.gpus)
