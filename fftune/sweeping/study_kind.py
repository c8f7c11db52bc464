"""Record of a kind of study: its settings, what a trial does, and how it is reported."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fftune.config import Resources, Settings, Study, flat
from fftune.config.study import kind_record
from fftune.hardware import CardName

if TYPE_CHECKING:  # a record is read by `--help`, which needs no torch
    from fftune.risk import RiskCounts
    from fftune.sweeping.card_share import MemoryUse
    from fftune.sweeping.front import Front
    from fftune.sweeping.study_dir import StudyDir
    from fftune.sweeping.trial_results import Estimates, SeedResult
    from fftune.tracking.runs import TrackedRun

S = TypeVar("S", bound=Study)

Report = Callable[[int, "RiskCounts"], None]
"""Function called at each rung with the epoch and the counts there; may raise `StoppedError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRun:
    """One run of a trial, with one seed: what to measure, and where to leave it."""

    study: "StudyDir"
    trial: int
    settings: Settings
    """Settings that the search chose."""
    config: Any
    """The study's base with these settings and the seed of this run."""
    begun: "Callable[[], TrackedRun]"
    """Call that waits until the MLflow run is open."""
    report: Report
    resources: Resources

    @property
    def tracked(self) -> "TrackedRun":
        """Open MLflow run, for metrics and files."""
        return self.begun()

    @property
    def folder(self) -> Path:
        """Folder of this run; everything in it stays."""
        return self.study.seed_folder(self.trial, self.config.seed)


def _pass(*_arguments: Any) -> None:
    """Do nothing."""


def _no_estimates(_study: "StudyDir", _numbers: Sequence[int]) -> "Mapping[int, Estimates]":
    """Give no intervals over seeds."""
    return {}


def _same(config: S) -> S:
    """Give the settings back."""
    return config


@dataclass(frozen=True, slots=True)
class Lazy:
    """Function whose module is imported at the first call."""

    target: str
    """`package.module:FUNCTION`."""

    def __call__(self, *arguments: Any) -> Any:
        module, _, name = self.target.partition(":")
        return getattr(import_module(module), name)(*arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyKind:
    """Kind of study: an entry of `registry.STUDIES`, or `FILE.py:NAME` in a file of the user's.

    To add a kind, write a frozen dataclass of settings (see `config.Study`), a function that
    measures one trial, and this record, all in one file.
    """

    config: type[Study]
    """Class of the settings."""
    about: str
    """One line for `--help`."""
    measure: "Callable[[SeedRun], SeedResult]"
    """Run one seed of one trial, and leave in its folder all that should stay, such as rows.
    `DivergedError` says that its settings failed, and others go on; other errors end a study."""
    check: Callable[[Any], None] = _pass
    """Refuse settings that do not fit the data, the model or the machine, before a trial starts;
    raises `UserError`."""
    prepare: Callable[[Any], Any] = _same
    """Complete the settings before they are stored, as with the hash of a model's weights."""
    params: Callable[[Any, Any], Mapping[str, Any]] = lambda _study, config: flat(config)
    """MLflow parameters of one run, given the study and the config of the run."""
    forget: "Callable[[StudyDir, Any], None]" = _pass
    """Delete the resume snapshots of a config."""
    epochs: Callable[[Any], int] = lambda _config: 0
    """Epochs of one run, of which early stopping saves some."""
    estimates: "Callable[[StudyDir, Sequence[int]], Mapping[int, Estimates]]" = _no_estimates
    """Intervals over the seeds of these trials, by trial, where there are several."""
    conclude: "Callable[[StudyDir, Front], None]" = _pass
    """Add to the folder of a finished study what its report needs beside the front."""
    cost: Callable[[Any], str] | None = None
    """Describe what a study would cost, for `--dry-run`."""
    hours: Callable[[Any, CardName | None, int | None], str] | None = None
    """Describe how long it would take on a card of the table, by default the device at hand, and
    on a number of them, by default several; for `--dry-run`."""
    memory: "Callable[[Any], MemoryUse] | None" = None
    """Measure in this process, which has a card, what the largest trial needs of its memory, for
    `--gpus auto`; by default a trial has a card for itself."""
    report: Callable[[Mapping[str, Any], Path], Any] | None = None
    """Write the report of some studies, given by name, below the storage root, and return the text
    for a terminal, or a `ResultPage`. Default: a table of all trials."""
    takes_model: bool = False
    """The base has a `net`, which `--checkpoint`, or `--model` and `--weights`, name."""


def kind_of(config: Study) -> StudyKind:
    """Look up the kind of a study.

    Raises:
        ConfigError: there is no such kind, or its file fails.
    """
    kind: StudyKind = kind_record(config.kind)
    return kind
