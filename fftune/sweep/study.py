"""A study on disk: its settings, its lock, its trials and what became of them."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fftune.config import SweepConfig, differences, from_json, to_json
from fftune.errors import ConfigError, StudyError
from fftune.storage import locked, write_text
from fftune.sweep.front import Failure, Front, Point, by_lambda, point_from_dict, point_to_dict


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """`<root>/studies/<name>`: whatever is complete in it stays true."""

    path: Path
    config: SweepConfig

    def trial(self, number: int) -> Path:
        """The folder of one trial."""
        return self.path / "trials" / str(number)

    def clear(self, number: int) -> Path:
        """The folder of one trial, without what an interrupted attempt left."""
        folder = self.trial(number)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def finish(self, point: Point) -> None:
        """Record a trial as finished: the last file to be written in its folder."""
        text = json.dumps(point_to_dict(point), indent=2) + "\n"
        write_text(self.trial(point.trial) / "result.json", text)

    def fail(self, failure: Failure) -> None:
        """Record a trial as failed, unless its own process has done so already."""
        if not self.failed(failure.trial):
            text = json.dumps(asdict(failure), indent=2) + "\n"
            write_text(self.trial(failure.trial) / "failure.json", text)

    def point(self, number: int) -> Point | None:
        """What a trial came to, if it is finished."""
        path = self.trial(number) / "result.json"
        return point_from_dict(json.loads(path.read_text())) if path.exists() else None

    def failed(self, number: int) -> bool:
        """Whether a trial has a recorded failure."""
        return (self.trial(number) / "failure.json").exists()

    def failure(self, number: int) -> Failure:
        """Why a trial failed."""
        return Failure(**json.loads((self.trial(number) / "failure.json").read_text()))

    def front(self) -> Front:
        """The front of all that is finished."""
        failures = [Failure(**data) for data in self._records("failure.json")]
        return Front(
            study=self.config.name,
            objective=self.config.base.objective,
            selection=self.config.selection,
            points=by_lambda([point_from_dict(data) for data in self._records("result.json")]),
            failures=tuple(sorted(failures, key=lambda f: f.trial)),
        )

    @property
    def begun(self) -> bool:
        """Whether any trial has ever started; until then a study may still change."""
        return (self.path / "trials").exists()

    @property
    def ended(self) -> int:
        """How many trials are finished or failed."""
        return len([*self._records("result.json")]) + len([*self._records("failure.json")])

    @property
    def remaining(self) -> int:
        """How many trials are still to run."""
        return max(0, self.config.planned - self.ended)

    def _records(self, name: str) -> Iterator[dict[str, Any]]:
        for path in sorted(self.path.glob(f"trials/*/{name}")):
            yield json.loads(path.read_text())


@contextmanager
def open_study(config: SweepConfig, root: Path, *, resume: bool) -> Iterator[StudyFolder]:
    """The study's folder, locked against a second driver while the block runs.

    Raises:
        StudyError: the study is being written, exists with other settings, or is unfinished
            and `resume` was not asked for.
    """
    path = root / "studies" / config.name
    with locked(path, f"study {config.name!r}"):
        study = StudyFolder(path, config)
        if study.begun:
            _check_same(study, resume=resume)
        write_text(path / "config.json", to_json(config))
        yield study


def _check_same(study: StudyFolder, *, resume: bool) -> None:
    name, new = study.config.name, study.config
    try:
        old = from_json(SweepConfig, (study.path / "config.json").read_text())
    except ConfigError as error:
        raise StudyError(f"study {name!r} has settings of another version: {error}") from None
    more = resume and new.trials > old.trials
    if new != (replace(old, trials=new.trials) if more else old):
        changed = differences(old, new)
        raise StudyError(f"study {name!r} exists with other settings ({changed}); use --name")
    if study.remaining and not resume:
        done = f"{study.ended} of {new.planned} trials"
        raise StudyError(f"study {name!r} is unfinished ({done}); --resume goes on with it")
