"""Finished studies, read back from their folders."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fftune.config import Study, SweepConfig, ThreatModel, nearest, study_of
from fftune.errors import ConfigError, StudyError
from fftune.sweeping.front import Front, SeedResult


@dataclass(frozen=True, slots=True)
class StudyResult:
    """A study's settings and its front."""

    config: SweepConfig
    front: Front
    folder: Path | None = None
    """Where its rows are."""

    @property
    def threat(self) -> ThreatModel:
        """What the models were trained and judged against."""
        return self.config.base.attack.threat

    @property
    def weakest(self) -> SeedResult:
        """The model with the least lambda."""
        return self.front.points[0]


def read_results(names: Sequence[str], root: Path) -> list[StudyResult]:
    """The studies of these names.

    Raises:
        StudyError: one does not exist or has no front; or they are not comparable, because
            they were judged on other data, by another battery or under another threat.
    """
    results = [_read(name, root / "studies") for name in names]
    for result in results[1:]:
        if (was := _terms(results[0])) != (now := _terms(result)):
            differ = next(f"{k}: {was[k]} and {now[k]}" for k in was if was[k] != now[k])
            raise StudyError(f"studies {names[0]!r} and {result.config.name!r} differ in {differ}")
    return results


def read_config(name: str, studies: Path) -> Study:
    """The settings of a finished study.

    Raises:
        StudyError: it has no front.
    """
    folder = studies / name
    if not (folder / "front.json").exists():
        known = [path.parent.name for path in studies.glob("*/front.json")]
        raise StudyError(f"study {name!r} has no front; {nearest(name, known)}")
    try:
        return study_of((folder / "config.json").read_text(encoding="utf-8"))
    except (ConfigError, OSError, UnicodeDecodeError) as error:
        raise StudyError(f"study {name!r} has settings that cannot be read: {error}") from None


def _read(name: str, studies: Path) -> StudyResult:
    config = read_config(name, studies)
    if not isinstance(config, SweepConfig):
        raise StudyError(f"study {name!r} trains nothing; hedges have a report of their own")
    return StudyResult(config, Front.read(studies / name / "front.json"), studies / name)


def _terms(result: StudyResult) -> dict[str, object]:
    """What two studies must share for their fronts to be comparable."""
    config = result.config
    terms = {"data": config.base.data, "battery": config.battery, "threat": result.threat}
    return terms | {"selection": config.selection}
