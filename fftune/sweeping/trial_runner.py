"""One trial, whatever it tries: attempts, seeds, and a run in MLflow. Any backend runs it."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from fftune.config import Resources, Settings, config_hash, flat, with_settings
from fftune.errors import FftuneError
from fftune.risk import RiskCounts
from fftune.sweeping.early_stopping import StoppedError
from fftune.sweeping.front import Failure, Front, SeedResult, Stopped
from fftune.sweeping.study_dir import StudyDir
from fftune.tracking.runs import TrackedRun, discard_runs
from fftune.tracking.store import Tracking

log = logging.getLogger(__name__)

Report = Callable[[int, RiskCounts], None]
"""Called at each rung with the epoch and what was counted there; may raise `StoppedError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRunner:
    """All that a trial needs but its number and its settings; travels to any worker.

    What a trial does is `measure`, which each kind of study has its own of.
    """

    study: StudyDir
    tracking: Tracking
    resources: Resources = field(default_factory=Resources)
    session: str = field(default_factory=lambda: uuid4().hex)
    """Of the driver: a worker that finds its own driver's attempt unended has died once."""

    @staticmethod
    def check(config: Any) -> None:
        """Fail before anything starts: a driver calls it.

        Raises:
            UserError: the study's base does not fit itself, the data or the machine.
        """
        raise NotImplementedError

    def measure(
        self, number: int, settings: Settings, config: Any, run: TrackedRun, report: Report
    ) -> SeedResult:
        """One point, with all that it leaves in its folder but its result.

        Args:
            config: the base with the settings in it, and the seed of this point.
        """
        raise NotImplementedError

    def params(self, config: Any) -> dict[str, Any]:
        """What MLflow should know of a point."""
        return {**flat(config), "strategy": self.study.config.rule}

    @staticmethod
    def conclude(study: StudyDir, front: Front) -> None:
        """Whatever a finished study is worth a look at, beside its front."""

    def forget(self, config: Any) -> None:
        """Nobody will go on where an attempt with this config has ended."""

    def stopped(self, number: int, settings: Settings, epoch: int) -> Stopped:
        """Record a trial as stopped after an epoch; what that saved."""
        raise NotImplementedError

    def __call__(
        self, number: int, settings: Settings, report: Report = lambda _epoch, _counts: None
    ) -> tuple[SeedResult, ...]:
        """Run one trial, once more where it fails; what it leaves is complete with its result.

        One seed after another, in the process that the trial has: they are one point's.

        Raises:
            DivergedError: training failed; recorded in the trial's folder.
            StoppedError: `report` said so.
        """
        key = config_hash(self.config(settings))
        self._refuse(number, settings, self.study.begin_attempt(key, self.session))
        try:
            points, runs = self._attempt(number, settings, key, report)
        finally:
            self.study.end_attempt(key)
        # After the result: no run of MLflow is finished where its trial is not. What a death
        # leaves open here is ended by the next driver.
        for run in runs:
            run.end()
        for point in points:
            self.forget(replace(self.config(settings), seed=point.seed))
        return points

    def _attempt(
        self, number: int, settings: Settings, key: str, report: Report
    ) -> tuple[tuple[SeedResult, ...], list[TrackedRun]]:
        """Until a trial is finished, or has failed too often; its points and their open runs."""
        while True:
            self.study.clear(number)
            try:
                return self._run_seeds(number, settings, report)
            except StoppedError:
                raise
            except Exception as error:
                reason = str(error) or type(error).__name__
                failures = self.study.fail_attempt(key, reason)
                # What fails alike every time need not be seen three times.
                if isinstance(error, FftuneError) or len(failures) >= self._attempts:
                    self.failure(number, settings, reason)
                    raise
                log.warning("trial %d failed, once more: %s", number, reason)

    def _refuse(self, number: int, settings: Settings, failures: Sequence[str]) -> None:
        """Record a trial as failed whose worker has died too often.

        Raises:
            FftuneError: it has failed.
        """
        if len(failures) >= self._attempts:
            self.failure(number, settings, failures[-1])
        if self.study.failed(number):
            raise FftuneError(self.study.failure(number).reason)

    def failure(self, number: int, settings: Settings, reason: str) -> Failure:
        """Record a trial as failed; the record that stands."""
        lam = getattr(self.config(settings), "lam", None)
        self.study.fail(Failure(trial=number, lam=lam, settings=settings, reason=reason))
        return self.study.failure(number)

    @property
    def _attempts(self) -> int:
        return self.study.config.attempts

    def _run_seeds(
        self, number: int, settings: Settings, report: Report
    ) -> tuple[tuple[SeedResult, ...], list[TrackedRun]]:
        sweep = self.study.config
        discard_runs(self.tracking, tags(sweep.name, "trial", number))
        runs: list[TrackedRun] = []
        points = []
        try:
            for seed in sweep.training_seeds:
                config = replace(self.config(settings), seed=seed)
                # The first seed stands for all at the rungs; others follow once it got through.
                at_rung = report if seed == sweep.base.seed else lambda _epoch, _counts: None
                runs.append(self._start_run(number, settings, config))
                points.append(self.measure(number, settings, config, runs[-1], at_rung))
                runs[-1].flush()  # a finished trial is whole in MLflow too
            self.study.finish(points)
        except Exception as error:
            for run in runs:
                run.end("KILLED" if isinstance(error, StoppedError) else "FAILED")
            raise
        return tuple(points), runs

    def config(self, settings: Settings) -> Any:
        """The base with these settings."""
        return with_settings(self.study.config.base, settings)

    def _start_run(self, number: int, settings: Settings, config: Any) -> TrackedRun:
        sweep = self.study.config
        values = " ".join(f"{path}={_short(value)}" for path, value in settings.items())
        seed = f" seed={config.seed}" if sweep.seeds > 1 else ""
        return TrackedRun(
            self.tracking,
            f"{sweep.name} {values}{seed}",
            tags=tags(sweep.name, "trial", number)
            | {
                "fftune.objective": getattr(config, "objective", sweep.method),
                "fftune.seed": str(config.seed),
            },
            params=self.params(config),
        )


def tags(study: str, kind: str, trial: int | None = None) -> dict[str, str]:
    """The tags by which a run is found again."""
    number = {} if trial is None else {"fftune.trial": str(trial)}
    return {"fftune.study": study, "fftune.kind": kind, **number}


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
