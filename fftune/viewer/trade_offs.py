"""Fronts of a study as a viewer shows them: figures, and each trial with its rates and settings."""

import json
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any, cast

from fftune.comparison import Estimate
from fftune.config import HedgeSweep, Settings, Study, SweepConfig
from fftune.hedge_study.plots import HEDGED, hedge_front
from fftune.hedge_study.summary import (
    HedgeResult,
    hedge_caveats,
    hedge_headlines,
    read_hedges,
)
from fftune.report.plots import fronts
from fftune.report.results import StudyResult
from fftune.report.sentences import asked, caveats, headlines
from fftune.sweeping.front import Front
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.trial_results import RISKS, SPLITS, TrialResult

ALSO = ("clean_accuracy", "adversarial_accuracy", "hypocritical_accuracy", "inflation")
"""Rates shown of the picked trial beside the risks of its front."""


@dataclass(frozen=True, slots=True)
class TradeOffs:
    """A finished study."""

    config: Study
    front: Front
    folder: Path

    @property
    def risks(self) -> tuple[str, ...]:
        """Risks beside the natural one."""
        return HEDGED if isinstance(self.config, HedgeSweep) else self.front.risks[1:]

    @property
    def hedges(self) -> HedgeResult | None:
        """The study as one of hedges, if it is."""
        if not isinstance(self.config, HedgeSweep):
            return None
        return read_hedges(self.config, self.folder)

    def figures(self) -> list[dict[str, Any]]:
        """Figures of Plotly as plain JSON, one for each other risk."""
        hedges = self.hedges
        result = StudyResult(cast("SweepConfig", self.config), self.front, self.folder)
        drawn = (
            hedge_front(hedges, risk) if hedges else fronts([result], risk) for risk in self.risks
        )
        return [json.loads(figure.to_json()) for figure in drawn]

    def sentences(self) -> tuple[list[str], list[str]]:
        """Headlines, and what a reader must know before quoting a number."""
        if hedges := self.hedges:
            return hedge_headlines(hedges), hedge_caveats(hedges)
        if isinstance(self.config, SweepConfig):
            result = [StudyResult(self.config, self.front, self.folder)]
            return headlines(result), caveats(result)
        return [], asked(self.front)

    def trials(self) -> list[dict[str, Any]]:
        """Trials as plain JSON, by natural risk on the test images: the order of the slider."""
        members = {trial.trial for trial in self.front.members}
        hedges = self.hedges
        order = sorted(self.front.trials, key=lambda t: t.risks("test")[0])
        return [
            {
                "trial": trial.trial,
                "name": hedges.describe(trial.settings) if hedges else _name(trial),
                "front": trial.trial in members,
                "settings": [[path, _shown(value)] for path, value in trial.settings.items()],
                "at": [
                    [_known(trial.estimate("test", RISKS[0]).mean), _known(self._mean(trial, risk))]
                    for risk in self.risks
                ],
                "rates": self._rates(trial),
                "seeds": [result.seed for result in trial.results],
            }
            for trial in order
        ]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels; empty where they are not known."""
        return next((question.classes for question in self.front.questions.values()), ())

    def settings_of(self, trial: int) -> Settings:
        """Settings that the search chose for a trial."""
        return next(one.settings for one in self.front.trials if one.trial == trial)

    def rows_of(self, trial: int, seed: int) -> Path:
        """Path of the rows of one net of the study."""
        return StudyDir(self.folder, self.config).seed_folder(trial, seed) / "outcomes.parquet"

    def _mean(self, trial: TrialResult, risk: str) -> float:
        return trial.estimate("test", risk).mean

    def _rates(self, trial: TrialResult) -> list[list[Any]]:
        """Rates of a trial by name on both splits, each as value and text."""
        found = []
        for name in dict.fromkeys((RISKS[0], *self.risks, *ALSO)):
            cells = []
            for split in reversed(SPLITS):
                if trial.estimates and name not in self.front.risks:
                    one = Estimate.of([getattr(r.counts(split), name) for r in trial.results])
                else:
                    one = trial.estimate(split, name)
                cells.append([_known(one.mean), told_estimate(one)])
            found.append([name.replace("_", " "), *cells])
        return found


def told_estimate(one: Estimate) -> str:
    """Format a mean with its interval in percent, as in "29.4 % (26.7 to 32.3)"."""
    if isnan(one.mean):
        return "undefined"
    ends = "" if isnan(one.low) else f" ({100 * one.low:.1f} to {100 * one.high:.1f})"
    spread = "" if one.seeds == 1 else f", sd {100 * one.sd:.1f} over {one.seeds} seeds"
    return f"{100 * one.mean:.1f} %{ends}{spread}"


def _name(trial: TrialResult) -> str:
    if trial.lam is not None:
        return f"lambda {trial.lam:.4g}"
    return ", ".join(f"{path} {_shown(value)}" for path, value in trial.settings.items())


def _known(value: float) -> float | None:
    return None if isnan(value) else value


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
