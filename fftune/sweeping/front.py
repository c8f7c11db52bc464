"""Result of a study: the counts of every trial, and the non-dominated ones, its front."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import groupby
from math import isnan, nan
from pathlib import Path
from typing import Any, cast

from fftune.comparison import Estimate
from fftune.config import Selection, of_plain
from fftune.errors import StudyError
from fftune.evaluation.question import Question, read_question
from fftune.pareto import hypervolume, non_dominated
from fftune.risk import RiskCounts
from fftune.storage import write_text
from fftune.sweeping.study_records import read_as, read_record
from fftune.sweeping.trial_results import (
    RISKS,
    SPLITS,
    Estimates,
    Failure,
    SeedResult,
    Stopped,
    TrialResult,
    result_from_dict,
    result_to_dict,
)

SCHEMA_VERSION = 3
"""Schema of `front.json`; version 1 had no questions, 2 had other names for two counts."""
REFERENCE = (1.0, 1.0)
"""Corner from which hypervolume is measured: every prediction wrong, every mistake concealable."""


@dataclass(frozen=True, kw_only=True)
class Front:
    """Trials of a study, of which the non-dominated ones on the selection split are the front."""

    study: str
    objective: str
    """Training objective, or `hedge`; see `Study.method`."""
    selection: Selection
    results: tuple[SeedResult, ...]
    """Results of all finished trials, by lambda; `points` in `front.json`."""
    failures: tuple[Failure, ...] = ()
    stopped: tuple[Stopped, ...] = ()
    estimates: Mapping[int, Estimates] = field(default_factory=dict)
    """Intervals over the seeds, by trial, where trials have several."""
    risks: tuple[str, ...] = RISKS
    """Rates that are minimized."""
    questions: Mapping[str, Question] = field(default_factory=dict)
    """Evaluation of the first model, by split; all models get the same. Empty in studies of schema
    version 1."""

    @cached_property
    def trials(self) -> tuple[TrialResult, ...]:
        """Finished trials, by lambda."""
        each = groupby(self.results, key=lambda result: result.trial)
        return tuple(
            TrialResult(results=tuple(results), estimates=self.estimates.get(trial, {}))
            for trial, results in each
        )

    @cached_property
    def members(self) -> tuple[TrialResult, ...]:
        """Non-dominated trials, by natural risk on the selection split."""
        kept = non_dominated([t.risks(self.selection, self.risks) for t in self.trials])
        members = [t for t, on_front in zip(self.trials, kept, strict=True) if on_front]
        return tuple(sorted(members, key=lambda t: t.risks(self.selection, self.risks)))

    @property
    def epochs_saved(self) -> int:
        """Epochs that early stopping saved."""
        return sum(stop.epochs_saved for stop in self.stopped)

    def against(self, risk: str) -> "Front":
        """Reduce the front to natural risk and one other."""
        return replace(self, risks=(RISKS[0], risk))

    def curve(self, split: Selection) -> list[tuple[float, float]]:
        """Pairs (natural risk, other risk) of the members on a split, by natural risk.

        A front of more risks is first reduced with `against`.
        """
        first, second = self.risks
        return sorted(
            (t.estimate(split, first).mean, t.estimate(split, second).mean) for t in self.members
        )

    def hypervolume(self, split: Selection) -> float:
        """Hypervolume of the members below `REFERENCE`; nan where the split has no examples."""
        if self.results and not any(result.counts(split).total for result in self.results):
            return nan
        return hypervolume(self.curve(split), REFERENCE)

    def write(self, path: Path) -> None:
        """Write `front.json`: the counts, and every rate with its interval."""
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
            "points": [result_to_dict(r) | {"on_front": r.trial in members} for r in self.results],
            "failures": [asdict(failure) for failure in self.failures],
            "stopped": [asdict(stop) for stop in self.stopped],
            "epochs_saved": self.epochs_saved,
        }
        write_text(path, json.dumps(data, indent=2) + "\n")

    def _hypervolumes(self) -> dict[str, Any]:
        """Hypervolume by split; with more than two risks, by the other risk and by split."""
        each: dict[str, Any] = {
            risk: {split: _number(self.against(risk).hypervolume(split)) for split in SPLITS}
            for risk in self.risks[1:]
        }
        return each if len(each) > 1 else each[self.risks[1]]

    def _summary(self, trial: TrialResult) -> dict[str, Any]:
        """Means of a trial over its seeds, as stored."""
        return {
            "trial": trial.trial,
            "lam": trial.lam,
            "settings": dict(trial.settings),
            "seeds": [result.seed for result in trial.results],
        } | {
            split: {rate: _plain(trial.estimate(split, rate)) for rate in self.risks}
            for split in SPLITS
        }

    @classmethod
    def read(cls, path: Path) -> "Front":
        """Read what `write` wrote; the study is called as its folder is now.

        Raises:
            StudyError: the study has no front, or one that is damaged or of another version.
        """
        try:
            version = read_record(path, "schema_version", what="front")["schema_version"]
        except StudyError as error:
            raise StudyError(f"no front at {str(path)!r}: {error}") from None
        if version not in range(1, SCHEMA_VERSION + 1):
            raise StudyError(
                f"front {str(path)!r} is of schema {version!r}, this fftune reads 1 to "
                f"{SCHEMA_VERSION}"
            )
        return replace(read_as(path, cls._from_dict, what="front"), study=path.parent.name)

    @classmethod
    def _from_dict(cls, data: Mapping[str, Any]) -> "Front":
        questions = data["questions"] if data["schema_version"] > 1 else {}
        return cls(
            study=_one_of(data, "study"),
            objective=_one_of(data, "objective"),
            selection=cast("Selection", _one_of(data, "selection", *SPLITS)),
            risks=_risks(data.get("risks", RISKS)),
            questions={split: read_question(q) for split, q in questions.items()},
            results=tuple(result_from_dict(r) for r in data["points"]),
            failures=tuple(of_plain(Failure, f) for f in data["failures"]),
            stopped=tuple(of_plain(Stopped, s) for s in data["stopped"]),
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


def _one_of(data: Mapping[str, Any], key: str, *known: str) -> str:
    """A text in a front, one of some."""
    value = data[key]
    if not isinstance(value, str) or (known and value not in known):
        raise TypeError(f"{key} is {value!r}")
    return value


def _risks(names: Any) -> tuple[str, ...]:
    risks = tuple(names)
    if risks[:1] != RISKS[:1] or not all(hasattr(RiskCounts, str(name)) for name in risks):
        raise TypeError(f"risks are {names!r}")
    return risks


def _plain(estimate: Estimate) -> dict[str, float | int | None]:
    return {k: _number(v) for k, v in asdict(estimate).items()}


def _number(value: float) -> float | None:
    """Turn nan into null, as JSON has no nan."""
    return None if isnan(value) else value


def _estimate(data: Mapping[str, Any]) -> Estimate:
    return of_plain(Estimate, {k: nan if v is None else v for k, v in data.items()})
