"""Folder of a study: its settings, its lock, and the records of its trials."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from fftune.config import Settings, Study, differences, of_plain, study_json, study_of
from fftune.errors import StudyError
from fftune.evaluation.block_cache import ENGINE
from fftune.evaluation.question import Question, read_question
from fftune.keyed_noise import GENERATOR
from fftune.outcomes import questions_in
from fftune.storage import locked, write_text
from fftune.sweeping.front import Front
from fftune.sweeping.samplers.spec import planned
from fftune.sweeping.study_records import read_as, read_study, read_trial
from fftune.sweeping.trial_results import (
    Estimates,
    Failure,
    SeedResult,
    Stopped,
    by_lambda,
    result_from_dict,
    result_to_dict,
)
from fftune.training.snapshots import Snapshots

T = TypeVar("T")
DIED = "its worker died"
FORMER_BLOCK = 256
"""Default block size of studies that were stored before it followed the device."""
OTHER_ENDS = ("result.json", "stopped.json")
"""Files that end a trial, one of them in its folder; or `failure.json`, if its settings did it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempts:
    """Record of the attempts at some settings."""

    open: str
    """Driver whose attempt has not ended."""
    failures: list[str]
    driver: str = ""  # of the last one; older records have none
    gpus: float = 0.0
    """Share of a card that they were found to need."""


@dataclass(frozen=True, slots=True)
class StudyDir:
    """Folder `<root>/studies/<name>`; files in it are written whole or not at all.

    It travels to workers as its path and the JSON of its settings, so that a kind of study in a
    file of the user's is known there too.
    """

    path: Path
    config: Study

    def __reduce__(self) -> tuple[Callable[[Path, str], "StudyDir"], tuple[Path, str]]:
        return _rebuilt, (self.path, study_json(self.config))

    def trial(self, number: int) -> Path:
        """Folder of one trial."""
        return self.path / "trials" / str(number)

    def seed_folder(self, number: int, seed: int) -> Path:
        """Folder of one seed of a trial: the trial's own where it has one seed."""
        folder = self.trial(number)
        return folder / "seeds" / str(seed) if self.several else folder

    @property
    def several(self) -> bool:
        """Tell if each trial runs with several seeds."""
        return len(self.config.training_seeds) > 1

    def clear(self, number: int) -> Path:
        """Empty the folder of one trial of what an interrupted attempt left."""
        folder = self.trial(number)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def drop_unfinished(self) -> None:
        """Delete the folders of trials that a driver left unfinished.

        Their settings are tried again under other numbers, from snapshots that lie elsewhere.
        """
        ended = self.recorded()
        for folder in self.path.glob("trials/*"):
            if folder.name.isdigit() and int(folder.name) not in ended:
                shutil.rmtree(folder)

    def finish(self, results: Sequence[SeedResult]) -> None:
        """Record a trial as finished: the last file to be written in its folder."""
        for result in results:
            text = json.dumps(result_to_dict(result), indent=2) + "\n"
            write_text(self.seed_folder(result.trial, result.seed) / "result.json", text)
        if self.several:
            first = results[0]
            data: dict[str, Any] = {
                "trial": first.trial,
                "lam": first.lam,
                "settings": dict(first.settings),
            }
            data["seeds"] = [result.seed for result in results]
            write_text(self.trial(first.trial) / "result.json", json.dumps(data, indent=2) + "\n")

    def fail(self, failure: Failure) -> None:
        """Record a trial as failed, unless its own process has done so already."""
        if not self.failed(failure.trial):
            text = json.dumps(asdict(failure), indent=2) + "\n"
            write_text(self.trial(failure.trial) / "failure.json", text)

    def stop(self, stop: Stopped) -> None:
        """Record a trial as stopped early."""
        place = self.trial(stop.trial) / "stopped.json"
        write_text(place, json.dumps(asdict(stop), indent=2) + "\n")

    def finished(self, number: int) -> bool:
        """Tell if all results of a trial are recorded."""
        return (self.trial(number) / "result.json").exists()

    def results(self, number: int) -> tuple[SeedResult, ...]:
        """Results of a trial, one a seed; empty unless the trial is finished."""
        if not self.finished(number):
            return ()
        paths = (self.seed_folder(number, s) / "result.json" for s in self.config.training_seeds)
        return tuple(read_trial(path, result_from_dict) for path in paths)

    def failed(self, number: int) -> bool:
        """Tell if a trial has a recorded failure that its settings caused."""
        path = self.trial(number) / "failure.json"
        return path.exists() and self.failure(number).by_settings

    def failure(self, number: int) -> Failure:
        """Recorded failure of a trial."""
        return read_trial(self.trial(number) / "failure.json", lambda data: of_plain(Failure, data))

    def _failures(self) -> list[Failure]:
        """Failures that settings caused. What fftune once recorded of others is no end."""
        every = self._records("failure.json", lambda data: of_plain(Failure, data))
        return [failure for failure in every if failure.by_settings]

    def was_stopped(self, number: int) -> bool:
        """Tell if a trial was stopped early."""
        return (self.trial(number) / "stopped.json").exists()

    def begin_attempt(self, key: str, session: str) -> list[str]:
        """Record that a worker begins an attempt; return the earlier failures under this driver.

        An open attempt of the same driver means that a worker died. Of another driver, which may
        have been killed itself, nothing counts: what caused its failures may be mended.
        """
        record = self._attempts(key)
        if (record["driver"] or record["open"]) != session:
            record["failures"] = []
        elif record["open"]:
            record["failures"].append(DIED)
        self._write_attempts(key, record | {"open": session, "driver": session})
        failures: list[str] = record["failures"]
        return failures

    def fail_attempt(self, key: str, reason: str) -> list[str]:
        """Record why an attempt failed; return all such reasons."""
        failures: list[str] = [*self._attempts(key)["failures"], reason]
        self._write_attempts(key, self._attempts(key) | {"failures": failures})
        return failures

    def end_attempt(self, key: str) -> None:
        """Record that an attempt has ended, one way or another."""
        self._write_attempts(key, self._attempts(key) | {"open": ""})

    def share(self, key: str) -> float:
        """Share of a card that these settings were found to need; 0 where they never ran out."""
        return float(self._attempts(key).get("gpus", 0.0))

    def widen(self, key: str, gpus: float) -> None:
        """Record that these settings need a larger share of a card: no failure of theirs."""
        self._write_attempts(key, self._attempts(key) | {"gpus": gpus})

    def _attempts(self, key: str) -> dict[str, Any]:
        if not (path := self.path / "attempts" / f"{key}.json").exists():
            return asdict(_Attempts(open="", failures=[]))
        what = "record of attempts"
        return asdict(read_as(path, lambda data: of_plain(_Attempts, data), what=what))

    def _write_attempts(self, key: str, record: Mapping[str, Any]) -> None:
        write_text(self.path / "attempts" / f"{key}.json", json.dumps(record) + "\n")

    def front(
        self, estimates: Callable[["StudyDir", Sequence[int]], Mapping[int, Estimates]]
    ) -> Front:
        """Front of the finished trials.

        Args:
            estimates: intervals over the seeds of these trials; see `StudyKind.estimates`.
        """
        stopped = self._records("stopped.json", lambda data: of_plain(Stopped, data))
        numbers = self._records("result.json", lambda data: int(data["trial"]))
        trials = {number: self.results(number) for number in numbers}
        return Front(
            study=self.config.name,
            objective=self.config.method,
            selection=self.config.selection,
            risks=self.config.risks,
            results=by_lambda([result for results in trials.values() for result in results]),
            failures=tuple(sorted(self._failures(), key=lambda f: f.trial)),
            stopped=tuple(sorted(stopped, key=lambda s: s.trial)),
            questions=self._questions(numbers),
            estimates=estimates(self, numbers) if self.several else {},
        )

    def _questions(self, numbers: Sequence[int]) -> dict[str, Question]:
        """Evaluation of the first finished trial, by split."""
        if not numbers:
            return {}
        folder = self.seed_folder(min(numbers), self.config.training_seeds[0])
        path = folder / "outcomes.parquet"
        found = [read_question(q) for q in questions_in(path)] if path.exists() else []
        return {question.split: question for question in reversed(found)}

    @property
    def begun(self) -> bool:
        """Tell if any trial has started; until then a study may still change."""
        return (self.path / "trials").exists()

    @property
    def ended(self) -> int:
        """Number of trials that are finished, failed or stopped."""
        others = (self.path.glob(f"trials/*/{kind}") for kind in OTHER_ENDS)
        return len(self._failures()) + sum(len([*each]) for each in others)

    def recorded(self) -> dict[int, Settings]:
        """Settings of every trial that is finished, failed or stopped, by its number."""
        each = (
            self._records(kind, lambda data: (int(data["trial"]), dict(data["settings"])))
            for kind in OTHER_ENDS
        )
        failed = ((failure.trial, failure.settings) for failure in self._failures())
        return dict(chain(failed, *each))

    @property
    def concluded(self) -> bool:
        """Tell if the front knows every ended trial: the driver that ended the last one has told
        the search of it.
        """
        try:
            front = Front.read(self.path / "front.json")
        except StudyError:
            return False
        told = {one.trial for one in front.results} | {one.trial for one in front.failures}
        return told | {one.trial for one in front.stopped} == self.recorded().keys()

    @property
    def engines(self) -> set[int | None]:
        """Engines that made the rows of ended trials; None for rows of 0.1.0, which name none."""
        found: set[int | None] = set()
        for number in self.recorded():
            for path in self.trial(number).rglob("outcomes.parquet"):
                questions = questions_in(path) or ({},)
                found.update(question.get("engine") for question in questions)
        return found

    @property
    def generators(self) -> set[int]:
        """Noise generators of the interrupted trainings."""
        folders = (self.path / "states").glob("*")
        return {saved.generator for folder in folders for saved in Snapshots(folder).saved()}

    @property
    def remaining(self) -> int:
        """Number of trials still to run."""
        return max(0, planned(self.config) - self.ended)

    def _records(self, name: str, build: Callable[[dict[str, Any]], T]) -> list[T]:
        return [read_trial(path, build) for path in sorted(self.path.glob(f"trials/*/{name}"))]


def _rebuilt(path: Path, settings: str) -> StudyDir:
    return StudyDir(path, study_of(settings))


@contextmanager
def open_study(config: Study, root: Path, *, resume: bool) -> Iterator[StudyDir]:
    """Open a study's folder, locked against a second driver while the block runs.

    Raises:
        StudyError: the study is being written by another driver, exists with other settings, is
            unfinished without `resume`, or would continue with another engine than it began with.
    """
    path = root / "studies" / config.name
    with locked(path, f"study {config.name!r}"):
        study = StudyDir(path, config)
        if study.begun:
            _check_same(study, resume=resume)
        write_text(path / "config.json", study_json(config))
        yield study


def _unsaid(old: Study, new: Study) -> Study:
    """The stored study, its block size left to the device where the new one leaves it.

    What was the default is what a CPU wants.
    """
    was, now = getattr(old, "battery", None), getattr(new, "battery", None)
    if was is None or now is None or now.block_size is not None or was.block_size != FORMER_BLOCK:
        return old
    return replace(old, battery=replace(was, block_size=None))  # type: ignore[call-arg]


def _beside(old: Study, new: Study) -> Study:
    """The stored study, with its net's weights where the new one finds them: they may be moved.

    Their hash tells that they are the same.
    """
    was, now = getattr(old.base, "net", None), getattr(new.base, "net", None)
    if was is None or now is None or not was.hash or was.hash != now.hash:
        return old
    net = replace(was, weights=now.weights)
    return replace(old, base=replace(old.base, net=net))


def _check_same(study: StudyDir, *, resume: bool) -> None:
    name, new = study.config.name, study.config
    old = _beside(_unsaid(read_study(study.path), new), new)
    old = replace(old, **{name: getattr(new, name) for name in new.shows})
    more = resume and new.trials > old.trials
    # JSON, as the class of a kind in a file of the user's may have been loaded twice.
    if study_json(new) != study_json(replace(old, trials=new.trials) if more else old):
        changed = differences(old, new)
        raise StudyError(f"study {name!r} exists with other settings ({changed}); use --name")
    if study.remaining and not resume:
        done = f"{study.ended} of {planned(new)} trials"
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
