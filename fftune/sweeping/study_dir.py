"""A study on disk: its settings, its lock, its trials and what became of them."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from fftune.comparison import risks_over_seeds
from fftune.config import Selection, Settings, Study, SweepConfig, differences, study_of, to_json
from fftune.errors import ConfigError, StudyError
from fftune.evaluation.batteries import attacks_of
from fftune.evaluation.block_cache import ENGINE
from fftune.evaluation.question import Question, read_question
from fftune.keyed_noise import GENERATOR
from fftune.outcomes import Outcomes, questions_in
from fftune.storage import locked, write_text
from fftune.sweeping.front import (
    SPLITS,
    Failure,
    Front,
    SeedResult,
    Stopped,
    by_lambda,
    point_from_dict,
    point_to_dict,
)
from fftune.sweeping.study_records import read_as, read_record
from fftune.training.snapshots import Snapshots

T = TypeVar("T")
ENDS = ("result.json", "failure.json", "stopped.json")
"""How a trial may end, each a file in its folder."""


@dataclass(frozen=True, slots=True)
class StudyDir:
    """`<root>/studies/<name>`: whatever is complete in it stays true."""

    path: Path
    config: Study

    def trial(self, number: int) -> Path:
        """The folder of one trial."""
        return self.path / "trials" / str(number)

    def seed_folder(self, number: int, seed: int) -> Path:
        """Where one model of a trial is: the trial's own folder, unless it has several."""
        folder = self.trial(number)
        return folder if self.config.seeds == 1 else folder / "seeds" / str(seed)

    def clear(self, number: int) -> Path:
        """The folder of one trial, without what an interrupted attempt left."""
        folder = self.trial(number)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def finish(self, points: Sequence[SeedResult]) -> None:
        """Record a trial as finished: the last file to be written in its folder."""
        for point in points:
            text = json.dumps(point_to_dict(point), indent=2) + "\n"
            write_text(self.seed_folder(point.trial, point.seed) / "result.json", text)
        if self.config.seeds > 1:
            first = points[0]
            data: dict[str, Any] = {
                "trial": first.trial,
                "lam": first.lam,
                "settings": dict(first.settings),
            }
            data["seeds"] = [point.seed for point in points]
            write_text(self.trial(first.trial) / "result.json", json.dumps(data, indent=2) + "\n")

    def fail(self, failure: Failure) -> None:
        """Record a trial as failed, unless its own process has done so already."""
        if not self.failed(failure.trial):
            text = json.dumps(asdict(failure), indent=2) + "\n"
            write_text(self.trial(failure.trial) / "failure.json", text)

    def stop(self, stop: Stopped) -> None:
        """Record a trial as stopped early."""
        text = json.dumps(asdict(stop), indent=2) + "\n"
        write_text(self.trial(stop.trial) / "stopped.json", text)

    def points(self, number: int) -> tuple[SeedResult, ...]:
        """What a trial came to, a model a seed; empty unless it is finished."""
        folder = self.trial(number)
        if not (folder / "result.json").exists():
            return ()
        paths = (self.seed_folder(number, s) / "result.json" for s in self.config.training_seeds)
        return tuple(read_as(path, point_from_dict) for path in paths)

    def failed(self, number: int) -> bool:
        """Whether a trial has a recorded failure."""
        return (self.trial(number) / "failure.json").exists()

    def failure(self, number: int) -> Failure:
        """Why a trial failed."""
        return read_as(self.trial(number) / "failure.json", lambda data: Failure(**data))

    def was_stopped(self, number: int) -> bool:
        """Whether a trial was stopped early."""
        return (self.trial(number) / "stopped.json").exists()

    def begin_attempt(self, key: str, session: str) -> list[str]:
        """Note that a driver's worker begins; how training with these settings failed so far.

        An attempt that the same driver has begun and nobody has ended is a worker's death. One
        that another driver has begun says nothing: the driver itself may have been killed.
        """
        record = self._attempts(key)
        if record["open"] == session:
            record["failures"].append("its worker died")
        self._write_attempts(key, record | {"open": session})
        failures: list[str] = record["failures"]
        return failures

    def fail_attempt(self, key: str, reason: str) -> list[str]:
        """Note why an attempt failed; all such reasons."""
        record = self._attempts(key)
        failures: list[str] = [*record["failures"], reason]
        self._write_attempts(key, record | {"failures": failures})
        return failures

    def end_attempt(self, key: str) -> None:
        """Note that a worker is done with these settings, one way or another."""
        self._write_attempts(key, self._attempts(key) | {"open": ""})

    def _attempts(self, key: str) -> dict[str, Any]:
        path = self.path / "attempts" / f"{key}.json"
        return (
            read_record(path, "open", "failures") if path.exists() else {"open": "", "failures": []}
        )

    def _write_attempts(self, key: str, record: Mapping[str, Any]) -> None:
        write_text(self.path / "attempts" / f"{key}.json", json.dumps(record) + "\n")

    def front(self) -> Front:
        """The front of all that is finished."""
        failures = self._records("failure.json", lambda data: Failure(**data))
        stopped = self._records("stopped.json", lambda data: Stopped(**data))
        numbers = self._records("result.json", lambda data: int(data["trial"]))
        trials = {number: self.points(number) for number in numbers}
        return Front(
            study=self.config.name,
            objective=self.config.method,
            selection=self.config.selection,
            risks=self.config.risks,
            points=by_lambda([point for points in trials.values() for point in points]),
            failures=tuple(sorted(failures, key=lambda f: f.trial)),
            stopped=tuple(sorted(stopped, key=lambda s: s.trial)),
            questions=self._questions(numbers),
            estimates={
                number: {
                    split: risks_over_seeds(self.rows(number, split))
                    for split in SPLITS
                    if trials[number][0].counts(split).total
                }
                for number in (trials if self.config.seeds > 1 else ())
            },
        )

    def _questions(self, numbers: Sequence[int]) -> dict[str, Question]:
        """By split, what the first finished trial's net was asked."""
        if not numbers:
            return {}
        folder = self.seed_folder(min(numbers), self.config.training_seeds[0])
        path = folder / "outcomes.parquet"
        found = [read_question(q) for q in questions_in(path)] if path.exists() else []
        return {question.split: question for question in reversed(found)}

    def rows(self, number: int, split: Selection) -> list[Outcomes]:
        """The hypocritical attack's rows of one trial, a training seed each."""
        assert isinstance(self.config, SweepConfig)  # only trainings have several
        attack = attacks_of(self.config.battery, self.config.base.attack.threat)[0].name
        folders = [self.seed_folder(number, seed) for seed in self.config.training_seeds]
        return [
            Outcomes.read(folder / "outcomes.parquet").where(
                goal="hypocritical", attack=attack, split=split
            )
            for folder in folders
        ]

    @property
    def begun(self) -> bool:
        """Whether any trial has ever started; until then a study may still change."""
        return (self.path / "trials").exists()

    @property
    def ended(self) -> int:
        """How many trials are finished, failed or stopped."""
        return sum(len([*self.path.glob(f"trials/*/{kind}")]) for kind in ENDS)

    def recorded(self) -> dict[int, Settings]:
        """The settings of every trial that is finished, failed or stopped, by its number."""
        each = (
            self._records(kind, lambda data: (int(data["trial"]), dict(data["settings"])))
            for kind in ENDS
        )
        return dict(pair for pairs in each for pair in pairs)

    @property
    def engines(self) -> set[int | None]:
        """The engines that made the rows of ended trials; None where rows do not say (0.1.0)."""
        found: set[int | None] = set()
        for number in self.recorded():
            for path in self.trial(number).rglob("outcomes.parquet"):
                questions = questions_in(path) or ({},)
                found.update(question.get("engine") for question in questions)
        return found

    @property
    def generators(self) -> set[int]:
        """The noise generators of the trainings that were interrupted."""
        folders = (self.path / "states").glob("*")
        return {saved.generator for folder in folders for saved in Snapshots(folder).saved()}

    @property
    def remaining(self) -> int:
        """How many trials are still to run."""
        return max(0, self.config.planned - self.ended)

    def _records(self, name: str, build: Callable[[dict[str, Any]], T]) -> list[T]:
        return [read_as(path, build) for path in sorted(self.path.glob(f"trials/*/{name}"))]


@contextmanager
def open_study(config: Study, root: Path, *, resume: bool) -> Iterator[StudyDir]:
    """The study's folder, locked against a second driver while the block runs.

    Raises:
        StudyError: the study is being written, exists with other settings, is unfinished and
            `resume` was not asked for, or would go on with another engine than it began with.
    """
    path = root / "studies" / config.name
    with locked(path, f"study {config.name!r}"):
        study = StudyDir(path, config)
        if study.begun:
            _check_same(study, resume=resume)
        write_text(path / "config.json", to_json(config))
        yield study


def _check_same(study: StudyDir, *, resume: bool) -> None:
    name, new = study.config.name, study.config
    try:
        old = study_of((study.path / "config.json").read_text(encoding="utf-8"))
    except (ConfigError, OSError, UnicodeDecodeError) as error:
        raise StudyError(f"study {name!r} has settings that cannot be read: {error}") from None
    more = resume and new.trials > old.trials
    if new != (replace(old, trials=new.trials) if more else old):
        changed = differences(old, new)
        raise StudyError(f"study {name!r} exists with other settings ({changed}); use --name")
    if study.remaining and not resume:
        done = f"{study.ended} of {new.planned} trials"
        raise StudyError(f"study {name!r} is unfinished ({done}); --resume goes on with it")
    if study.remaining and (engines := study.engines - {ENGINE}):
        made = " and ".join("an older one" if e is None else str(e) for e in engines)
        raise StudyError(
            f"study {name!r} has trials of another engine ({made}; this fftune has {ENGINE}): new "
            "trials would not be comparable; use --name"
        )
    if study.remaining and (others := study.generators - {GENERATOR}):
        raise StudyError(
            f"study {name!r} has a training that was begun with noise generator {others.pop()}; "
            f"this fftune has {GENERATOR}, and cannot go on with it; use --name"
        )
