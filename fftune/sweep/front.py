"""The result of a study: every trial's counts, and which of them form the front."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fftune.config import Objective, Selection
from fftune.errors import StudyError
from fftune.pareto import hypervolume, non_dominated
from fftune.risk import Rate, RiskCounts
from fftune.storage import write_text

REFERENCE = (1.0, 1.0)
"""The corner from which hypervolume is measured: all wrong, and all of it concealable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One trained model, judged on the split that selects and on the split that reports."""

    trial: int
    lam: float
    seed: int
    model_hash: str
    validation: RiskCounts
    test: RiskCounts
    train_seconds: float
    evaluate_seconds: float

    def counts(self, selection: Selection) -> RiskCounts:
        """The counts on a split."""
        return self.validation if selection == "validation" else self.test


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A trial that gave no model, and why."""

    trial: int
    lam: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """A study's points. Which of them are on the front is decided on the selection split."""

    study: str
    objective: Objective
    selection: Selection
    points: tuple[Point, ...]
    """All finished trials, by lambda."""
    failures: tuple[Failure, ...] = ()

    @property
    def members(self) -> tuple[Point, ...]:
        """The non-dominated points, by natural risk on the selection split."""
        kept = non_dominated([_risks(p.counts(self.selection)) for p in self.points])
        members = [p for p, on_front in zip(self.points, kept, strict=True) if on_front]
        return tuple(sorted(members, key=lambda p: _risks(p.counts(self.selection))))

    def curve(self, split: Selection) -> list[tuple[float, float]]:
        """(natural, hypocritical) risk of the members on a split, by natural risk."""
        return sorted(_risks(p.counts(split)) for p in self.members)

    def hypervolume(self, split: Selection) -> float:
        """Of the members, on a split, below `REFERENCE`."""
        return hypervolume(self.curve(split), REFERENCE)

    def write(self, path: Path) -> None:
        """`front.json`: the counts, and every rate with its interval."""
        members = {p.trial for p in self.members}
        data = {
            "schema_version": 1,
            "study": self.study,
            "objective": self.objective,
            "selection": self.selection,
            "optimistic": self.selection == "test",
            "reference": REFERENCE,
            "hypervolume": {split: self.hypervolume(split) for split in ("validation", "test")},
            "points": [point_to_dict(p) | {"on_front": p.trial in members} for p in self.points],
            "failures": [asdict(failure) for failure in self.failures],
        }
        write_text(path, json.dumps(data, indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Front":
        """What `write` wrote.

        Raises:
            StudyError: the study has no front.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError) as error:
            raise StudyError(f"no front at {str(path)!r}: {error}") from None
        return cls(
            study=data["study"],
            objective=data["objective"],
            selection=data["selection"],
            points=tuple(point_from_dict(p) for p in data["points"]),
            failures=tuple(Failure(**f) for f in data["failures"]),
        )


def by_lambda(points: Sequence[Point]) -> tuple[Point, ...]:
    """Sorted by lambda, then by trial."""
    return tuple(sorted(points, key=lambda p: (p.lam, p.trial)))


def point_from_dict(data: dict[str, Any]) -> Point:
    """A point from its JSON; derived rates in it are ignored."""
    fields = {name: data[name] for name in Point.__slots__}
    for split in ("validation", "test"):
        fields[split] = RiskCounts(**{n: data[split][n] for n in RiskCounts.__slots__})
    return Point(**fields)


def point_to_dict(point: Point) -> dict[str, Any]:
    """A point's JSON: its counts, and every rate with its interval for readers in a hurry."""
    data = asdict(point)
    for split in ("validation", "test"):
        data[split] |= {name: _rate(rate) for name, rate in getattr(point, split).rates().items()}
    return data


def _rate(rate: Rate) -> dict[str, float | int | None]:
    """An undefined rate is null: JSON has no nan."""
    if not rate.n:
        return {"count": 0, "n": 0, "value": None, "low": None, "high": None}
    low, high = rate.interval
    return {"count": rate.count, "n": rate.n, "value": rate.value, "low": low, "high": high}


def _risks(counts: RiskCounts) -> tuple[float, float]:
    return counts.natural_risk.value, counts.hypocritical_risk.value
