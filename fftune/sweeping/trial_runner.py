"""One trial of any kind of study: attempts, seeds, and MLflow runs. Any backend runs it."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast
from uuid import uuid4

from fftune.config import Resources, Settings, config_hash, with_settings
from fftune.errors import (
    ClusterError,
    ConfigError,
    DivergedError,
    OutOfMemoryError,
    StorageError,
    packed,
    unpacked,
)
from fftune.sweeping.card_share import MoreOfCardError, larger
from fftune.sweeping.early_stopping import StoppedError
from fftune.sweeping.samplers.spec import strategy_of
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.study_kind import Report, SeedRun, StudyKind, kind_of
from fftune.sweeping.trial_errors import by_settings, by_surroundings
from fftune.sweeping.trial_results import Failure, SeedResult, Stopped
from fftune.tracking.meanwhile import meanwhile
from fftune.tracking.runs import TrackedRun, end_stale_runs
from fftune.tracking.store import Tracking
from fftune.training.out_of_memory import described, free_memory, ran_out

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRunner:
    """Runner of the trials of one study, for any number and settings; it travels to workers."""

    study: StudyDir
    tracking: Tracking
    resources: Resources = field(default_factory=Resources)
    session: str = field(default_factory=lambda: uuid4().hex)
    """Id of the driver; an open attempt of the same driver means that its worker died."""

    @property
    def kind(self) -> StudyKind:
        """Kind of the study."""
        return kind_of(self.study.config)

    def stopped(self, number: int, settings: Settings, epoch: int) -> Stopped:
        """Record a trial as stopped after an epoch, and delete its resume snapshots."""
        config, sweep = self.config(settings), self.study.config
        self.kind.forget(self.study, config)
        end_stale_runs(self.tracking, tags(sweep.name, "trial", number), lambda _tags: False)
        stop = Stopped(
            trial=number,
            lam=getattr(config, "lam", None),
            settings=settings,
            epoch=epoch,
            epochs_saved=self.kind.epochs(config) * len(sweep.training_seeds) - epoch,
        )
        self.study.stop(stop)
        return stop

    def tidy(self) -> None:
        """Delete what a driver that died left of unfinished trials, and snapshots of ended ones."""
        self.study.drop_unfinished()
        for settings in self.study.recorded().values():
            with suppress(ConfigError):  # settings that do not go together were never trained
                config = self.config(settings)
                for seed in self.study.config.training_seeds:
                    self.kind.forget(self.study, replace(config, seed=seed))

    def __call__(
        self,
        number: int,
        settings: Settings,
        report: Report = lambda _epoch, _counts: None,
        *,
        held: float | None = None,
    ) -> tuple[SeedResult, ...]:
        """Run all seeds of one trial in this process, with retries, and record its results.

        The record of the results is written last: with it the trial is complete.

        Args:
            held: share of a card that somebody has given to this process, of whom more is asked;
                None: the trial itself says how much it takes.

        Raises:
            DivergedError, ConfigError: its settings failed, as `by_settings` tells; this, and only
                this, is recorded in the trial's folder.
            MoreOfCardError: it needs more of a card than is held.
            OutOfMemoryError: a whole card is too small.
            StoppedError: `report` raised it.
            Exception: whatever else the trial met; what nobody foresaw, in every attempt.
        """
        try:
            key = config_hash(self.config(settings))
        except ConfigError as error:  # they do not go together
            self.failure(number, settings, error)
            raise
        if held is not None and 0 < held < (needed := self.study.share(key)):
            raise MoreOfCardError(needed)  # a driver died before it could give more
        self._refuse(number, self.study.begin_attempt(key, self.session))
        try:
            results, runs = self._attempt(number, settings, key, report, held)
        finally:
            self.study.end_attempt(key)
        # After the result: no run of MLflow is finished where its trial is not. What a death
        # leaves open here is ended by the next driver.
        for run in runs:
            run.end()
        for result in results:
            self.kind.forget(self.study, replace(self.config(settings), seed=result.seed))
        return results

    def _attempt(
        self, number: int, settings: Settings, key: str, report: Report, held: float | None
    ) -> tuple[tuple[SeedResult, ...], list[TrackedRun]]:
        """Retry until the trial is finished or has failed too often.

        Returns:
            Its results and their open MLflow runs.
        """
        share = max(self.resources.share, self.study.share(key)) if held is None else held
        while True:
            self.study.clear(number)
            try:
                return self._run_seeds(number, settings, report, share)
            except StoppedError:
                raise
            except Exception as error:
                if ran_out(error):
                    more = self._more(number, key, share, error)
                    if held is not None:
                        raise MoreOfCardError(more) from None
                    share = more
                    free_memory(error)
                    continue
                if by_settings(error):
                    self.failure(number, settings, error)
                    raise
                # What fails alike every time need not be seen three times.
                if by_surroundings(error) is not None:
                    raise
                reason = str(error) or type(error).__name__
                if len(self.study.fail_attempt(key, reason)) >= self._attempts:
                    raise
                log.warning("trial %d failed, once more: %s", number, reason)

    def _more(self, number: int, key: str, share: float, error: Exception) -> float:
        """Record that a trial needs more of a card than its share, which is no failure yet.

        Returns:
            The larger share.

        Raises:
            OutOfMemoryError: there is no more.
        """
        reason = described(error)
        more = larger(share)
        if more is None:
            raise OutOfMemoryError(reason) from None
        self.study.widen(key, more)
        told = "trial %d ran out of memory with %g of a card, and goes on with %g"
        log.warning(told, number, share, more)
        return more

    def _refuse(self, number: int, failures: Sequence[str]) -> None:
        """Refuse a trial that has failed, or whose attempts under this driver are used up.

        Raises:
            FftuneError: it has failed by its settings, in a process that died afterwards.
            ClusterError: its workers died.
        """
        if self.study.failed(number):
            known = self.study.failure(number)
            raise unpacked(known.error or DivergedError.__name__, known.reason)
        if len(failures) >= self._attempts:
            raise ClusterError(f"{len(failures)} attempts failed; the last: {failures[-1]}")

    def failure(self, number: int, settings: Settings, error: Exception) -> Failure:
        """Record a trial as failed by its settings; return the record, which may be an earlier one.

        Settings that cannot be put together have no lambda of their own.
        """
        lam = settings.get("lam", getattr(self.study.config.base, "lam", None))
        told = packed(error)
        failure = Failure(
            trial=number,
            lam=cast("float | None", lam),
            settings=settings,
            reason=told["message"],
            error=told["error"],
        )
        self.study.fail(failure)
        return self.study.failure(number)

    @property
    def _attempts(self) -> int:
        return self.study.config.attempts

    def _run_seeds(
        self, number: int, settings: Settings, report: Report, share: float
    ) -> tuple[tuple[SeedResult, ...], list[TrackedRun]]:
        sweep = self.study.config
        runs: list[TrackedRun] = []
        results: list[SeedResult] = []
        try:
            for seed in sweep.training_seeds:
                config = replace(self.config(settings), seed=seed)
                # Rungs compare first seeds; the other seeds run once the first has passed all.
                at_rung = report if seed == sweep.base.seed else lambda _epoch, _counts: None
                begin = partial(self._start_run, number, settings, config, first=not results)
                with meanwhile(begin) as begun:
                    run = SeedRun(
                        study=self.study,
                        trial=number,
                        settings=settings,
                        config=config,
                        begun=begun,
                        report=at_rung,
                        resources=replace(self.resources, gpus=share),
                    )
                    try:
                        results.append(self.kind.measure(run))
                    finally:
                        runs.append(begun())
                runs[-1].flush()  # a finished trial is whole in MLflow too
            self.study.finish(results)
        except Exception as error:
            status = "KILLED" if isinstance(error, StoppedError) else "FAILED"
            # A disk may fail after a record has its name: then the next driver ends them.
            for tracked in () if self.study.finished(number) else runs:
                with suppress(OSError, StorageError):  # there may be no room for this either
                    tracked.end(status)
            raise
        return tuple(results), runs

    def config(self, settings: Settings) -> Any:
        """Config of a trial: the base with its settings."""
        return with_settings(self.study.config.base, settings)

    def _start_run(
        self, number: int, settings: Settings, config: Any, *, first: bool
    ) -> TrackedRun:
        """Begin the MLflow run of a seed; the first ends what an earlier attempt left open."""
        sweep = self.study.config
        same = tags(sweep.name, "trial", number)
        if first:
            end_stale_runs(self.tracking, same, lambda _tags: False)
        values = " ".join(f"{path}={_short(value)}" for path, value in settings.items())
        seed = f" seed={config.seed}" if self.study.several else ""
        return TrackedRun(
            self.tracking,
            f"{sweep.name} {values}{seed}",
            tags=same
            | {
                "fftune.objective": getattr(config, "objective", sweep.method),
                "fftune.seed": str(config.seed),
            },
            params={**self.kind.params(sweep, config), "strategy": strategy_of(sweep)},
            replaces=same | {"fftune.seed": str(config.seed)},
        )


def tags(study: str, kind: str, trial: int | None = None) -> dict[str, str]:
    """MLflow tags by which a run is found again."""
    number = {} if trial is None else {"fftune.trial": str(trial)}
    return {"fftune.study": study, "fftune.kind": kind, **number}


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
