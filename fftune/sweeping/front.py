"""The result of a study: every trial's counts, and which of them form the front."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import groupby
from math import isnan, nan
from pathlib import Path
from typing import Any

from fftune.comparison import Estimate
from fftune.config import Selection, Settings
from fftune.errors import StudyError
from fftune.evaluation.question import Question, read_question
from fftune.pareto import hypervolume, non_dominated
from fftune.risk import RiskCounts, plain_rate
from fftune.storage import write_text
from fftune.sweeping.study_records import read_as, read_record

SCHEMA_VERSION = 3
"""Version of `front.json`; 1 had no questions, 2 had other names for two counts."""
BEFORE_3 = {"adv_corrected": "regained", "hyp_broken": "spoiled"}
RISKS = ("natural_risk", "hypocritical_risk")
SPLITS: tuple[Selection, Selection] = ("validation", "test")
REFERENCE = (1.0, 1.0)
"""The corner from which hypervolume is measured: all wrong, and all of it concealable."""


Estimates = Mapping[str, Mapping[str, Estimate]]
"""By split and by rate, of one trial over its seeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedResult:
    """One trained model, judged on the split that selects and on the split that reports."""

    trial: int
    lam: float | None = None
    """None where the study trains nothing."""
    settings: Settings = field(default_factory=dict)
    """What the search chose, by the paths of the fields."""
    seed: int
    model_hash: str
    validation: RiskCounts
    test: RiskCounts
    train_seconds: float
    evaluate_seconds: float
    crafted: int = 0
    """Examples that training perturbed: what it cost on any machine."""
    aware: RiskCounts | None = None
    """Of a defence: on a part of the test split, by everything tried, attackers who know it
    included."""
    remarks: tuple[str, ...] = ()
    """Of the lint on this net, `code: text` each."""

    def counts(self, selection: Selection) -> RiskCounts:
        """The counts on a split."""
        return self.validation if selection == "validation" else self.test


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A trial that gave no model, and why."""

    trial: int
    lam: float | None = None
    settings: Settings = field(default_factory=dict)
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A trial that was left behind by others, and what it did not cost."""

    trial: int
    lam: float | None = None
    settings: Settings = field(default_factory=dict)
    epoch: int
    """After which it was stopped."""
    epochs_saved: int
    """Of all its seeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """The models of one trial, a training seed each."""

    points: tuple[SeedResult, ...]
    estimates: Estimates = field(default_factory=dict)
    """Two-level bootstrap intervals; needed for several seeds only."""

    @property
    def trial(self) -> int:
        """The trial's number."""
        return self.points[0].trial

    @property
    def lam(self) -> float | None:
        """The trial's lambda."""
        return self.points[0].lam

    @property
    def settings(self) -> Settings:
        """What the search chose."""
        return self.points[0].settings

    def estimate(self, split: Selection, rate: str) -> Estimate:
        """A rate over the seeds; of one seed, with the interval of its examples."""
        if split in self.estimates:
            return self.estimates[split][rate]
        rates = [getattr(point.counts(split), rate) for point in self.points]
        return Estimate.of(rates)

    def risks(self, split: Selection, names: Sequence[str] = RISKS) -> tuple[float, ...]:
        """Means over the seeds: natural and hypocritical risk."""
        return tuple(self.estimate(split, name).mean for name in names)


@dataclass(frozen=True, kw_only=True)
class Front:
    """A study's points. Which of them are on the front is decided on the selection split."""

    study: str
    objective: str
    """What its points are points of: a training's objective, or `hedge`."""
    selection: Selection
    points: tuple[SeedResult, ...]
    """All trained models of finished trials, by lambda."""
    failures: tuple[Failure, ...] = ()
    stopped: tuple[Stopped, ...] = ()
    estimates: Mapping[int, Estimates] = field(default_factory=dict)
    """By trial, where points were repeated."""
    risks: tuple[str, ...] = RISKS
    """What is to be small."""
    questions: Mapping[str, Question] = field(default_factory=dict)
    """By split, what was asked of the first of its nets: all are asked the same. None is known of
    studies of earlier versions."""

    @cached_property
    def trials(self) -> tuple[TrialResult, ...]:
        """The finished trials, by lambda."""
        each = groupby(self.points, key=lambda p: p.trial)
        return tuple(
            TrialResult(points=tuple(points), estimates=self.estimates.get(trial, {}))
            for trial, points in each
        )

    @cached_property
    def members(self) -> tuple[TrialResult, ...]:
        """The non-dominated trials, by natural risk on the selection split."""
        kept = non_dominated([t.risks(self.selection, self.risks) for t in self.trials])
        members = [t for t, on_front in zip(self.trials, kept, strict=True) if on_front]
        return tuple(sorted(members, key=lambda t: t.risks(self.selection, self.risks)))

    @property
    def epochs_saved(self) -> int:
        """By stopping trials early."""
        return sum(stop.epochs_saved for stop in self.stopped)

    def against(self, risk: str) -> "Front":
        """The same trials, traded between natural risk and one other."""
        return replace(self, risks=(RISKS[0], risk))

    def curve(self, split: Selection) -> list[tuple[float, float]]:
        """(natural risk, the other) of the members on a split, by natural risk."""
        first, second = self.risks  # of more, see `against`
        return sorted(
            (t.estimate(split, first).mean, t.estimate(split, second).mean) for t in self.members
        )

    def hypervolume(self, split: Selection) -> float:
        """Of the members, on a split, below `REFERENCE`; nan where the split has no examples."""
        if self.points and not any(point.counts(split).total for point in self.points):
            return nan
        return hypervolume(self.curve(split), REFERENCE)

    def write(self, path: Path) -> None:
        """`front.json`: the counts, and every rate with its interval."""
        members = {p.trial for p in self.members}
        data = {
            "schema_version": SCHEMA_VERSION,
            "study": self.study,
            "objective": self.objective,
            "selection": self.selection,
            "optimistic": self.selection == "test",
            "reference": REFERENCE,
            "risks": self.risks,
            "hypervolume": self._hypervolumes(),
            "trials": [self._summary(t) | {"on_front": t.trial in members} for t in self.trials],
            "questions": {split: question.plain for split, question in self.questions.items()},
            "points": [point_to_dict(p) | {"on_front": p.trial in members} for p in self.points],
            "failures": [asdict(failure) for failure in self.failures],
            "stopped": [asdict(stop) for stop in self.stopped],
            "epochs_saved": self.epochs_saved,
        }
        write_text(path, json.dumps(data, indent=2) + "\n")

    def _hypervolumes(self) -> dict[str, Any]:
        """By split; of several fronts by the risk that is traded first."""
        each: dict[str, Any] = {
            risk: {split: _number(self.against(risk).hypervolume(split)) for split in SPLITS}
            for risk in self.risks[1:]
        }
        return each if len(each) > 1 else each[self.risks[1]]

    def _summary(self, trial: TrialResult) -> dict[str, Any]:
        """A trial's means over its seeds."""
        return {
            "trial": trial.trial,
            "lam": trial.lam,
            "settings": dict(trial.settings),
            "seeds": [p.seed for p in trial.points],
        } | {
            split: {rate: _plain(trial.estimate(split, rate)) for rate in self.risks}
            for split in SPLITS
        }

    @classmethod
    def read(cls, path: Path) -> "Front":
        """What `write` wrote.

        Raises:
            StudyError: the study has no front, or one that is damaged or of another version.
        """
        try:
            version = read_record(path, "schema_version")["schema_version"]
        except StudyError as error:
            raise StudyError(f"no front at {str(path)!r}: {error}") from None
        if version not in range(1, SCHEMA_VERSION + 1):
            raise StudyError(
                f"front {str(path)!r} is of schema {version!r}, this fftune reads 1 to "
                f"{SCHEMA_VERSION}"
            )
        return read_as(path, cls._from_dict)

    @classmethod
    def _from_dict(cls, data: Mapping[str, Any]) -> "Front":
        questions = data["questions"] if data["schema_version"] > 1 else {}
        return cls(
            study=data["study"],
            objective=data["objective"],
            selection=data["selection"],
            risks=tuple(data.get("risks", RISKS)),
            questions={split: read_question(q) for split, q in questions.items()},
            points=tuple(point_from_dict(p) for p in data["points"]),
            failures=tuple(Failure(**f) for f in data["failures"]),
            stopped=tuple(Stopped(**s) for s in data["stopped"]),
            estimates={
                t["trial"]: {
                    s: {r: _estimate(e) for r, e in t[s].items()}
                    for s in SPLITS
                    if t[s][RISKS[0]]["mean"] is not None
                }
                for t in data["trials"]
                if len(t["seeds"]) > 1
            },
        )


def by_lambda(points: Sequence[SeedResult]) -> tuple[SeedResult, ...]:
    """Sorted by lambda, then by trial and seed."""
    return tuple(sorted(points, key=lambda p: (p.lam or 0.0, p.trial, p.seed)))


def point_from_dict(data: dict[str, Any]) -> SeedResult:
    """A point from its JSON; derived rates in it are ignored."""
    fields = {name: data[name] for name in SeedResult.__slots__ if name in data}
    fields["remarks"] = tuple(data.get("remarks", ()))
    for name in (*SPLITS, "aware"):
        if fields.get(name):
            fields[name] = _counts(data[name])
    return SeedResult(**fields)


def _counts(data: Mapping[str, Any]) -> RiskCounts:
    old = BEFORE_3 if "regained" in data else {}
    return RiskCounts(**{name: data[old.get(name, name)] for name in RiskCounts.__slots__})


def point_to_dict(point: SeedResult) -> dict[str, Any]:
    """A point's JSON: its counts, and every rate with its interval for readers in a hurry."""
    data = asdict(point)
    for name in (*SPLITS, "aware"):
        if counts := getattr(point, name):
            data[name] |= {name: plain_rate(rate) for name, rate in counts.rates().items()}
    return data


def _plain(estimate: Estimate) -> dict[str, float | int | None]:
    return {k: _number(v) for k, v in asdict(estimate).items()}


def _number(value: float) -> float | None:
    """Null where it is undefined: JSON has no nan."""
    return None if isnan(value) else value


def _estimate(data: Mapping[str, Any]) -> Estimate:
    values: dict[str, Any] = {k: nan if v is None else v for k, v in data.items()}
    return Estimate(**values)
