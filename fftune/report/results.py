"""Finished studies of trainings, read from their folders."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from fftune.config import Study, SweepConfig, ThreatModel, nearest
from fftune.errors import StudyError
from fftune.sweeping.front import Front
from fftune.sweeping.study_records import read_study
from fftune.sweeping.trial_results import TrialResult


@dataclass(frozen=True, slots=True)
class StudyResult:
    """Settings and front of one finished study."""

    config: SweepConfig
    front: Front
    folder: Path | None = None
    """Folder of the study, with its rows."""

    @property
    def threat(self) -> ThreatModel:
        """Threat model of training and evaluation."""
        return self.config.base.attack.threat

    @property
    def weakest(self) -> TrialResult:
        """Trial of the least lambda; of several the one that errs least on the selecting images.

        Other settings are searched beside lambda, of which some train nothing worth a headline.
        """
        trials, selection = self.front.trials, self.front.selection
        least = min(trial.lam or 0.0 for trial in trials)
        same = [trial for trial in trials if (trial.lam or 0.0) == least]
        return min(same, key=lambda trial: trial.risks(selection))


def read_results(names: Sequence[str], root: Path) -> list[StudyResult]:
    """Read finished studies that are to be compared.

    Raises:
        StudyError: one does not exist, has no front, or trains nothing; or they are not
            comparable: they differ in data, battery, threat or selection split.
    """
    studies = [_read(name, root / "studies") for name in names]
    for study in studies[1:]:
        if (was := _terms(studies[0])) != (now := _terms(study)):
            differ = next(f"{k}: {was[k]} and {now[k]}" for k in was if was[k] != now[k])
            raise StudyError(f"studies {names[0]!r} and {study.config.name!r} differ in {differ}")
    return studies


def read_config(name: str, studies: Path) -> Study:
    """Read the settings of a finished study of any kind.

    Raises:
        StudyError: it has no front.
    """
    folder = studies / name
    if not (folder / "front.json").exists():
        known = [path.parent.name for path in studies.glob("*/front.json")]
        if not folder.is_dir() and (studies.parent / "runs" / name).is_dir():
            raise StudyError(
                f"{name!r} is a run, not a study; `fftune report --table attacks {name}` lays out "
                f"what `fftune evaluate {name}` found"
            )
        raise StudyError(f"study {name!r} has no front; {nearest(name, known)}")
    return read_study(folder)


def _read(name: str, studies: Path) -> StudyResult:
    config = read_config(name, studies)
    if config.kind != SweepConfig.kind:
        raise StudyError(f"study {name!r} is of kind {config.kind!r} and trains nothing")
    return StudyResult(
        cast("SweepConfig", config), Front.read(studies / name / "front.json"), studies / name
    )


def _terms(study: StudyResult) -> dict[str, object]:
    """Settings that two studies must share for their fronts to be comparable."""
    config = study.config
    terms = {"data": config.base.data, "battery": config.battery, "threat": study.threat}
    return terms | {"selection": config.selection}
