"""One training: train, judge on both splits, keep everything."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fftune.config import (
    DataSpec,
    Selection,
    Settings,
    SweepConfig,
    TrainConfig,
    config_hash,
    require,
    to_json,
)
from fftune.data.catalog import place_framed
from fftune.data.subset import sample
from fftune.evaluation.batteries import attacks_of
from fftune.evaluation.evaluate import evaluate
from fftune.evaluation.question import remarks_of
from fftune.metrics import Metrics
from fftune.models import torch_threads
from fftune.models.saved_spec import read_spec
from fftune.objectives import objective_of
from fftune.outcomes import Outcomes
from fftune.risk import RiskCounts
from fftune.storage import write_text
from fftune.sweeping.front import SPLITS, SeedResult, Stopped
from fftune.sweeping.trial_runner import Report, TrialRunner, tags
from fftune.tracking.runs import TrackedRun, end_stale_runs
from fftune.training.cost import cost
from fftune.training.history import EpochRecord
from fftune.training.snapshots import Snapshots
from fftune.training.tracked import train_anywhere
from fftune.training.train import check


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTrialRunner(TrialRunner):
    """Trains a net with each of the settings."""

    @staticmethod
    def check(config: SweepConfig) -> None:
        """Decodes one image, and trains nothing. What validation chooses needs examples of it."""
        check(config.base)
        data = config.base.data
        some = "validation" in judged_on(data)
        chosen = some or config.selection == "test"
        size = data.validation_size
        require("base.data.validation_size", chosen, ">= 1 unless selection is 'test'", size)
        rungs, rule = config.stopping.rungs, "empty without base.data.validation_size"
        require("stopping.rungs", some or not rungs, rule, rungs)

    @property
    def sweep(self) -> SweepConfig:
        """The study's settings."""
        assert isinstance(self.study.config, SweepConfig)
        return self.study.config

    def params(self, config: TrainConfig) -> dict[str, Any]:
        """The battery too."""
        return {**TrialRunner.params(self, config), "battery": self.sweep.battery.name}

    def forget(self, config: TrainConfig) -> None:
        """Clear its states."""
        self._states(config).clear()

    def stopped(self, number: int, settings: Settings, epoch: int) -> Stopped:
        """Record a trial as stopped after an epoch; what that saved. Its states are forgotten."""
        config, sweep = self.config(settings), self.sweep
        self.forget(config)
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

    def _states(self, config: TrainConfig) -> Snapshots:
        """Where another attempt at the same training, under another number, can go on."""
        return Snapshots(self.study.path / "states" / config_hash(config))

    def measure(
        self, number: int, settings: Settings, config: TrainConfig, run: TrackedRun, report: Report
    ) -> SeedResult:
        sweep, folder = self.sweep, self.study.seed_folder(number, config.seed)
        write_text(folder / "config.json", to_json(config))
        rungs = Rungs(sweep, report)
        began = time.perf_counter()
        train_anywhere(
            config,
            folder,
            run,
            self.resources,
            on_ray=config.workers > 1,  # one worker is this process, which has what it asked for
            metrics=Metrics(study=sweep.name, run=str(folder.relative_to(self.study.path))),
            states=self._states(config).folder,
            on_epoch=rungs,
        )
        model = read_spec(folder / "checkpoint")
        trained = time.perf_counter()
        # Every point is judged on the same examples under the same threat, whatever is searched.
        data, threat, net = sweep.base.data, sweep.base.attack.threat, f"{sweep.name}-{number}"
        with torch_threads(config.threads):
            stages = {
                split: evaluate({net: model}, data, sweep.battery, threat=threat, split=split)[net]
                .complete()
                .table
                for split in judged_on(data)
            }
        outcomes = Outcomes.of(list(stages.values()))
        outcomes.write(folder / "outcomes.parquet")
        attack = attacks_of(sweep.battery, threat)[0].name
        # Of a split without examples nothing is counted, and every rate is undefined.
        validation, test = (
            RiskCounts.of(outcomes, attack=attack, split=s) if s in stages else RiskCounts()
            for s in SPLITS
        )
        run.metrics(values(test) | {f"validation/{k}": v for k, v in values(validation).items()})
        _keep(run, folder)
        return SeedResult(
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
            remarks=remarks_of(outcomes),
        )


@dataclass(frozen=True, slots=True)
class Rungs:
    """Counts both risks of a net in training, after the epochs that are rungs."""

    sweep: SweepConfig
    report: Report

    def __call__(self, epoch: EpochRecord, model: Any) -> None:
        """Judge by the hypocritical attack alone, at few steps, on a part of validation."""
        sweep = self.sweep
        if epoch.epoch not in sweep.stopping.rungs:
            return
        base, stopping = sweep.base, sweep.stopping
        dataset = sample(base.data, "validation", stopping.examples)
        battery = replace(sweep.battery, name="risks", steps=stopping.steps, examples=None)
        threat = base.attack.threat
        friend = [p for p in attacks_of(battery, threat) if p.goal == "hypocritical"]
        outcomes = evaluate(model, dataset, battery, threat=threat, attacks=friend)
        self.report(epoch.epoch, RiskCounts.of_friend(outcomes))


def judged_on(data: DataSpec) -> tuple[Selection, ...]:
    """The splits with examples: the papers train on all images, and have `test` alone."""
    return SPLITS if len(place_framed(data, "validation")[1]) else ("test",)


def _keep(run: TrackedRun, folder: Path) -> None:
    for name in ("config.json", "history.parquet", "outcomes.parquet"):
        run.file(folder / name)


def _crafted(config: TrainConfig) -> int:
    """How many examples training perturbed."""
    if objective_of(config).crafting is None:
        return 0
    return cost(replace(config, objective="standard", lam=0.0)).forwards


def values(counts: RiskCounts) -> dict[str, float]:
    """The defined rates; MLflow cannot draw a nan."""
    return {name: rate.value for name, rate in counts.rates().items() if rate.n}
