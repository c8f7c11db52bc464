"""One trial: train, judge on both splits, keep everything. Any backend runs it."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from fftune.config import (
    Resources,
    Settings,
    TrainConfig,
    config_hash,
    flat,
    to_json,
    with_settings,
)
from fftune.errors import FftuneError
from fftune.evaluate import evaluate, judge, probes
from fftune.evaluate.run import sample
from fftune.metrics import Metrics
from fftune.models import torch_threads
from fftune.objectives import crafting
from fftune.outcomes import Outcomes
from fftune.risk import RiskCounts
from fftune.storage import write_text
from fftune.sweep.front import SPLITS, Failure, Point, Stopped
from fftune.sweep.stopping import StoppedError
from fftune.sweep.study import StudyFolder
from fftune.tracking import Run, Tracking, discard_runs, end_stale_runs
from fftune.train.checkpoint import read_spec
from fftune.train.cost import cost
from fftune.train.epoch import Epoch
from fftune.train.record import train_anywhere
from fftune.train.states import States

log = logging.getLogger(__name__)

Report = Callable[[int, RiskCounts], None]
"""Called at each rung with the epoch and what was counted there; may raise `StoppedError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRunner:
    """All that a trial needs but its number and its settings; travels to any worker."""

    study: StudyFolder
    tracking: Tracking
    resources: Resources = field(default_factory=Resources)
    session: str = field(default_factory=lambda: uuid4().hex)
    """Of the driver: a worker that finds its own driver's attempt unended has died once."""

    def __call__(
        self, number: int, settings: Settings, report: Report = lambda _epoch, _counts: None
    ) -> tuple[Point, ...]:
        """Run one trial, once more where it fails; what it leaves is complete with its result.

        One seed after another, in the process that the trial has: they are one point's.

        Raises:
            DivergedError: training failed; recorded in the trial's folder.
            StoppedError: `report` said so.
        """
        key = config_hash(self._config(settings))
        self._refuse(number, settings, self.study.begin_attempt(key, self.session))
        try:
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
        finally:
            self.study.end_attempt(key)

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
        lam = self._config(settings).lam
        self.study.fail(Failure(trial=number, lam=lam, settings=settings, reason=reason))
        return self.study.failure(number)

    def stopped(self, number: int, settings: Settings, epoch: int) -> Stopped:
        """Record a trial as stopped after an epoch; what that saved. Its states are forgotten."""
        config, sweep = self._config(settings), self.study.config
        self._states(config).clear()
        end_stale_runs(self.tracking, tags(sweep.name, "trial", number), lambda _tags: False)
        stop = Stopped(
            trial=number,
            lam=config.lam,
            settings=settings,
            epoch=epoch,
            epochs_saved=config.optimizer.epochs * sweep.seeds - epoch,
        )
        self.study.stop(stop)
        return stop

    @property
    def _attempts(self) -> int:
        return self.study.config.attempts

    def _run_seeds(self, number: int, settings: Settings, report: Report) -> tuple[Point, ...]:
        sweep = self.study.config
        discard_runs(self.tracking, tags(sweep.name, "trial", number))
        points = []
        for seed in sweep.training_seeds:
            config = replace(self._config(settings), seed=seed)
            # The first seed stands for all at the rungs; the others follow once it got through.
            at_rung = report if seed == sweep.base.seed else lambda _epoch, _counts: None
            points.append(self._run_seed(number, settings, config, at_rung))
        self.study.finish(points)
        for seed in sweep.training_seeds:
            self._states(replace(self._config(settings), seed=seed)).clear()
        return tuple(points)

    def _run_seed(
        self, number: int, settings: Settings, config: TrainConfig, report: Report
    ) -> Point:
        run = self._start_run(number, settings, config)
        try:
            point = self._measure(number, settings, config, run, report)
        except Exception as error:
            run.end("KILLED" if isinstance(error, StoppedError) else "FAILED")
            raise
        run.end()  # before the result is on disk: a finished trial is whole in MLflow too
        return point

    def _config(self, settings: Settings) -> TrainConfig:
        return with_settings(self.study.config.base, settings)

    def _start_run(self, number: int, settings: Settings, config: TrainConfig) -> Run:
        sweep = self.study.config
        values = " ".join(f"{path}={_short(value)}" for path, value in settings.items())
        seed = f" seed={config.seed}" if sweep.seeds > 1 else ""
        return Run(
            self.tracking,
            f"{sweep.name} {values}{seed}",
            tags=tags(sweep.name, "trial", number)
            | {"fftune.objective": config.objective, "fftune.seed": str(config.seed)},
            params={**flat(config), "strategy": sweep.rule, "battery": sweep.battery.name},
        )

    def _states(self, config: TrainConfig) -> States:
        """Where another attempt at the same training, under another number, can go on."""
        return States(self.study.path / "states" / config_hash(config))

    def _measure(
        self, number: int, settings: Settings, config: TrainConfig, run: Run, report: Report
    ) -> Point:
        sweep, folder = self.study.config, self.study.seed_folder(number, config.seed)
        write_text(folder / "config.json", to_json(config))
        rungs = Rungs(self.study, report)
        began = time.perf_counter()
        train_anywhere(
            config,
            folder,
            run,
            self.resources,
            metrics=Metrics(study=sweep.name, run=str(folder.relative_to(self.study.path))),
            states=self._states(config).folder,
            on_epoch=rungs,
        )
        model = read_spec(folder / "checkpoint")
        trained = time.perf_counter()
        # Every point is judged on the same examples under the same threat, whatever is searched.
        data, threat = sweep.base.data, sweep.base.attack.threat
        with torch_threads(config.threads):
            parts = [
                evaluate(model, data, sweep.battery, threat=threat, split=split).table
                for split in SPLITS
            ]
        outcomes = Outcomes.of(parts)
        outcomes.write(folder / "outcomes.parquet")
        attack = probes(sweep.battery, threat)[0].attack
        validation, test = (RiskCounts.of(outcomes, attack=attack, split=s) for s in SPLITS)
        run.metrics(_values(test) | {f"validation/{k}": v for k, v in _values(validation).items()})
        _keep(run, folder)
        return Point(
            trial=number,
            lam=config.lam,
            settings=settings,
            seed=config.seed,
            model_hash=model.hash,
            validation=validation,
            test=test,
            train_seconds=trained - began,
            evaluate_seconds=time.perf_counter() - trained,
            crafted=_crafted(config),
        )


@dataclass(frozen=True, slots=True)
class Rungs:
    """Counts both risks of a net in training, after the epochs that are rungs."""

    study: StudyFolder
    report: Report

    def __call__(self, epoch: Epoch, model: Any) -> None:
        """Judge by the hypocritical attack alone, at few steps, on a part of validation."""
        sweep = self.study.config
        if epoch.epoch not in sweep.stopping.rungs:
            return
        base, stopping = sweep.base, sweep.stopping
        dataset = sample(base.data, "validation", stopping.examples)
        battery = replace(sweep.battery, name="risks", steps=stopping.steps, examples=None)
        threat = base.attack.threat
        friend = [p for p in probes(battery, threat) if p.goal == "hypocritical"]
        outcomes = judge(model, dataset, battery, threat=threat, chosen=friend)
        self.report(epoch.epoch, RiskCounts.of_friend(outcomes))


def tags(study: str, kind: str, trial: int | None = None) -> dict[str, str]:
    """The tags by which a run is found again."""
    number = {} if trial is None else {"fftune.trial": str(trial)}
    return {"fftune.study": study, "fftune.kind": kind, **number}


def _keep(run: Run, folder: Path) -> None:
    for name in ("config.json", "history.parquet", "outcomes.parquet"):
        run.file(folder / name)


def _crafted(config: TrainConfig) -> int:
    """How many examples training perturbed."""
    if crafting(config.objective, config.lam) is None:
        return 0
    return cost(replace(config, objective="standard", lam=0.0)).forwards


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _values(counts: RiskCounts) -> dict[str, float]:
    """The defined rates; MLflow cannot draw a nan."""
    return {name: rate.value for name, rate in counts.rates().items() if rate.n}
