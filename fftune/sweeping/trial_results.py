"""Results of trials: counts of each model, failures, and early stops.

A trial is one setting of the search, run once with each training seed. `SeedResult` is one such
run, `TrialResult` all runs of a trial.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fftune.bracket import Bracket
from fftune.comparison import Estimate
from fftune.config import Selection, Settings, of_plain
from fftune.risk import RiskCounts, plain_rate

RISKS = ("natural_risk", "hypocritical_risk")
"""Rates of a front of trainings, both minimized."""
SPLITS: tuple[Selection, Selection] = ("validation", "test")
"""Splits on which every model is evaluated."""
BEFORE_3 = {"adv_corrected": "regained", "hyp_broken": "spoiled"}
"""Names of two counts in schema versions 1 and 2."""
BEFORE_ERRORS = re.compile(
    r"its worker died|it left no result|workers died more than|out of memory|allocate memory"
    r"|cannot write|cannot be (?:read|used|reached)|is not visible on node|does not answer"
    r"|Errno \d|No space left|Too many open files|one that torch sees|CUDA error"
)
"""Words of the surroundings in records of failures that are too old to name their error."""
Estimates = Mapping[str, Mapping[str, Estimate]]
"""Intervals of one trial over its seeds, by split and by rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedResult:
    """Counts of one model, on the split that selects and on the split that reports."""

    trial: int
    lam: float | None = None
    """Weight lambda of the training; None where the study trains nothing."""
    settings: Settings = field(default_factory=dict)
    """Settings that the search chose, by the paths of the fields."""
    seed: int
    """Training seed, or seed of a defense's noise."""
    model_hash: str
    """Hash of the weights, and of the defense if there is one."""
    validation: RiskCounts
    test: RiskCounts
    train_seconds: float
    evaluate_seconds: float
    """Wall-clock time."""
    crafted: int = 0
    """Examples that training perturbed: its cost on any machine."""
    aware: RiskCounts | None = None
    """Counts of a defended model under all attacks, adaptive ones included, on a part of the test
    split."""
    remarks: tuple[str, ...] = ()
    """Remarks of the lint on this model, `code: text` each."""
    brackets: tuple[Bracket, ...] = ()
    """Risks on the test split between attacks and certified bounds, of batteries that have both."""

    def counts(self, selection: Selection) -> RiskCounts:
        """Counts on a split."""
        return self.validation if selection == "validation" else self.test


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Record of a trial that gave no model, and why."""

    trial: int
    lam: float | None = None
    settings: Settings = field(default_factory=dict)
    reason: str
    error: str = ""
    """Class of the error, of `fftune.errors`; empty in records that are older than that."""

    @property
    def by_settings(self) -> bool:
        """The settings did it, as far as one can tell; others are no failure, and tried again."""
        return bool(self.error) or not BEFORE_ERRORS.search(self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """Record of a trial that was stopped early, and what that saved."""

    trial: int
    lam: float | None = None
    settings: Settings = field(default_factory=dict)
    epoch: int
    """Epoch after which the trial was stopped."""
    epochs_saved: int
    """Epochs that all its seeds did not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """Results of one trial, one a training seed."""

    results: tuple[SeedResult, ...]
    estimates: Estimates = field(default_factory=dict)
    """Two-level bootstrap intervals, for several seeds only."""

    @property
    def trial(self) -> int:
        """Number of the trial."""
        return self.results[0].trial

    @property
    def lam(self) -> float | None:
        """Weight lambda of the trial."""
        return self.results[0].lam

    @property
    def settings(self) -> Settings:
        """Settings that the search chose."""
        return self.results[0].settings

    def estimate(self, split: Selection, rate: str) -> Estimate:
        """Mean of a rate over the seeds; for one seed, with the interval over its examples."""
        if split in self.estimates:
            return self.estimates[split][rate]
        rates = [getattr(result.counts(split), rate) for result in self.results]
        return Estimate.of(rates)

    def risks(self, split: Selection, names: Sequence[str] = RISKS) -> tuple[float, ...]:
        """Means of rates over the seeds, by default natural and hypocritical risk."""
        return tuple(self.estimate(split, name).mean for name in names)


def by_lambda(results: Sequence[SeedResult]) -> tuple[SeedResult, ...]:
    """Sort results by lambda, then by trial and seed."""
    return tuple(sorted(results, key=lambda r: (r.lam or 0.0, r.trial, r.seed)))


def result_from_dict(data: dict[str, Any]) -> SeedResult:
    """Build a result from its JSON; derived rates in it are ignored."""
    fields = {name: data[name] for name in SeedResult.__slots__ if name in data}
    for name in ("remarks", "brackets"):
        fields[name] = tuple(data.get(name, ()))
    for name in (*SPLITS, "aware"):
        if fields.get(name):
            fields[name] = _counts(data[name])
    return of_plain(SeedResult, fields)


def _counts(data: Mapping[str, Any]) -> dict[str, int]:
    old = BEFORE_3 if "regained" in data else {}
    return {name: data[old.get(name, name)] for name in RiskCounts.__slots__}


def result_to_dict(result: SeedResult) -> dict[str, Any]:
    """Turn a result into JSON: its counts, and every derived rate with its interval."""
    data = asdict(result)
    for name in (*SPLITS, "aware"):
        if counts := getattr(result, name):
            data[name] |= {name: plain_rate(rate) for name, rate in counts.rates().items()}
    return data
