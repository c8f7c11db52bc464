"""One trial: train at one lambda, judge on both splits, keep everything. Any backend runs it."""

import time
from dataclasses import dataclass, field, replace

from fftune.config import Resources, Selection, config_hash, flat, to_json
from fftune.evaluate import evaluate, probes
from fftune.models import torch_threads
from fftune.outcomes import Outcomes
from fftune.risk import RiskCounts
from fftune.storage import write_text
from fftune.sweep.front import Failure, Point
from fftune.sweep.study import StudyFolder
from fftune.tracking import Run, Tracking, discard_runs
from fftune.train.checkpoint import read_spec
from fftune.train.record import train_anywhere
from fftune.train.states import States

SPLITS: tuple[Selection, Selection] = ("validation", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRunner:
    """All that a trial needs but its number and its lambda; travels to any worker."""

    study: StudyFolder
    tracking: Tracking
    resources: Resources = field(default_factory=Resources)

    def __call__(self, number: int, lam: float) -> Point:
        """Run one trial from scratch; what it leaves is complete only with its result.

        Raises:
            DivergedError: training failed; recorded in the trial's folder.
        """
        self.study.clear(number)
        discard_runs(self.tracking, tags(self.study.config.name, "trial", number))
        run = self._start_run(number, lam)
        try:
            point = self._measure(number, lam, run)
        except Exception as error:
            reason = str(error) or type(error).__name__
            self.study.fail(Failure(trial=number, lam=lam, reason=reason))
            run.end("FAILED")
            raise
        run.flush()  # before the result is on disk, so that a finished trial is whole in MLflow too
        self.study.finish(point)
        self._states(lam).clear()
        run.end()
        return point

    def _start_run(self, number: int, lam: float) -> Run:
        sweep = self.study.config
        config = replace(sweep.base, lam=lam)
        return Run(
            self.tracking,
            f"{sweep.name} lam={lam:g}",
            tags=tags(sweep.name, "trial", number),
            params={**flat(config), "strategy": sweep.strategy, "battery": sweep.battery.name},
        )

    def _states(self, lam: float) -> States:
        """Where another attempt at the same training, under another number, can go on."""
        config = replace(self.study.config.base, lam=lam)
        return States(self.study.path / "states" / config_hash(config))

    def _measure(self, number: int, lam: float, run: Run) -> Point:
        sweep, folder = self.study.config, self.study.trial(number)
        config = replace(sweep.base, lam=lam)
        write_text(folder / "config.json", to_json(config))
        began = time.perf_counter()
        with torch_threads(config.threads):
            train_anywhere(config, folder, run, self.resources, states=self._states(lam).folder)
            model = read_spec(folder / "checkpoint")
            trained = time.perf_counter()
            threat = config.attack.threat
            parts = [
                evaluate(model, config.data, sweep.battery, threat=threat, split=split).table
                for split in SPLITS
            ]
        outcomes = Outcomes.of(parts)
        outcomes.write(folder / "outcomes.parquet")
        attack = probes(sweep.battery, threat)[0].attack
        validation, test = (RiskCounts.of(outcomes, attack=attack, split=s) for s in SPLITS)
        run.metrics(_values(test) | {f"validation/{k}": v for k, v in _values(validation).items()})
        for name in ("config.json", "history.parquet", "outcomes.parquet"):
            run.file(folder / name)
        return Point(
            trial=number,
            lam=lam,
            seed=config.seed,
            model_hash=model.hash,
            validation=validation,
            test=test,
            train_seconds=trained - began,
            evaluate_seconds=time.perf_counter() - trained,
        )


def tags(study: str, kind: str, trial: int | None = None) -> dict[str, str]:
    """The tags by which a run is found again."""
    number = {} if trial is None else {"fftune.trial": str(trial)}
    return {"fftune.study": study, "fftune.kind": kind, **number}


def _values(counts: RiskCounts) -> dict[str, float]:
    """The defined rates; MLflow cannot draw a nan."""
    return {name: rate.value for name, rate in counts.rates().items() if rate.n}
