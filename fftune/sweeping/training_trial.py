"""One trial of a study of trainings: train a model, and evaluate it on both splits."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from fftune.bracket import brackets
from fftune.comparison import risks_over_seeds
from fftune.config import (
    BatteryConfig,
    DataSpec,
    ModelSpec,
    Selection,
    SweepConfig,
    TrainConfig,
    config_hash,
    flat,
    require,
    to_json,
)
from fftune.config.model import VARIANTS
from fftune.data.catalog import place_framed
from fftune.data.subset import sample
from fftune.errors import DeviceError, DivergedError, UnscorableError
from fftune.evaluation.batteries import attacks_of
from fftune.evaluation.evaluate import evaluate
from fftune.evaluation.question import remarks_of
from fftune.lint.other_images import CHANCE
from fftune.metrics import Metrics
from fftune.models import device_of, torch_threads
from fftune.models.specs import read_spec
from fftune.outcomes import Outcomes
from fftune.risk import RiskCounts
from fftune.storage import write_text
from fftune.sweeping.fuse_groups import groups_of
from fftune.sweeping.samplers.spec import sampler_spec
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.study_kind import Report, SeedRun
from fftune.sweeping.trial_results import SPLITS, Estimates, SeedResult
from fftune.training.cost import perturbed_examples
from fftune.training.fused import check_fused
from fftune.training.history import EpochRecord
from fftune.training.snapshots import Snapshots
from fftune.training.tracked import train_anywhere
from fftune.training.train import OnEpoch, check


def check_trainings(config: SweepConfig) -> None:
    """Decode one image and train nothing.

    Raises:
        UserError: the base does not fit the data or the machine, or validation is to select
            without having examples.
    """
    trainings = sampler_spec(config).trainings
    inputs = [check(one).inputs for one in (trainings(config) if trainings else [config.base])][-1]
    require("variants", not (trainings and config.variants), "off where nets are read off", True)
    if config.fuse > 1:
        for group in groups_of(config, config.base.seed):
            check_fused(group, inputs)
    check_device(config.battery)
    data = config.base.data
    some = "validation" in evaluated_splits(data)
    chosen = some or config.selection == "test"
    size = data.validation_size
    require("base.data.validation_size", chosen, ">= 1 unless selection is 'test'", size)
    rungs, rule = config.stopping.rungs, "empty without base.data.validation_size"
    require("stopping.rungs", some or not rungs, rule, rungs)
    last = config.base.optimizer.epochs
    require("stopping.rungs", all(r <= last for r in rungs), f"epochs <= {last}, the last", rungs)


def check_device(battery: BatteryConfig) -> None:
    """Refuse a device on which no trial could be evaluated.

    Raises:
        DeviceError: torch cannot use it here.
    """
    try:
        device_of(battery.device)
    except DeviceError as error:
        raise DeviceError(f"battery.{error}") from None


def mlflow_params(study: SweepConfig, config: TrainConfig) -> dict[str, Any]:
    """Settings of one training, and the battery that counts its risks."""
    return {**flat(config), "battery": study.battery.name}


def snapshots_of(study: StudyDir, config: TrainConfig) -> Snapshots:
    """Resume snapshots of a training, whichever trial it belongs to."""
    return Snapshots(study.path / "states" / config_hash(config))


def forget(study: StudyDir, config: TrainConfig) -> None:
    """Delete the resume snapshots of a training."""
    snapshots_of(study, config).clear()


def train_and_evaluate(run: SeedRun) -> SeedResult:
    """Train one model and evaluate it on both splits.

    The folder then holds `config.json`, `checkpoint`, `history.parquet` and `outcomes.parquet`.
    """
    sweep = sweep_of(run)
    config: TrainConfig = run.config
    folder = run.folder
    write_text(folder / "config.json", to_json(config))
    began = time.perf_counter()
    crafted = (sampler_spec(sweep).trains or train_alone)(run)
    model = read_spec(folder / "checkpoint")
    trained = time.perf_counter()
    with torch_threads(config.threads):
        outcomes = _evaluated(sweep, model, name=f"{sweep.name}-{run.trial}")
    outcomes.write(folder / rows_file())
    counts = counts_of(sweep, outcomes)
    validation, test = (counts[split] for split in SPLITS)
    ends = tuple(one for one in brackets(outcomes) if one.split == "test")
    bounds = {k: r.value for one in ends for k, r in one.rates().items() if r.n}
    run.tracked.metrics(
        rates(test)
        | {f"validation/{name}": value for name, value in rates(validation).items()}
        | bounds
    )
    if sweep.variants:
        _evaluate_variants(run)
    for name in ("config.json", "history.parquet", "outcomes.parquet"):
        run.tracked.file(folder / name)
    return SeedResult(
        trial=run.trial,
        lam=config.lam,
        settings=run.settings,
        seed=config.seed,
        model_hash=model.hash,
        validation=validation,
        test=test,
        train_seconds=trained - began,
        evaluate_seconds=time.perf_counter() - trained,
        crafted=crafted,
        remarks=remarks_of(outcomes),
        brackets=ends,
    )


def _evaluate_variants(run: SeedRun) -> None:
    """Leave the rows of the other nets of a training beside those of the last one."""
    sweep, folder = sweep_of(run), run.folder
    for variant in VARIANTS:
        if not (folder / variant / "model.json").exists():
            continue
        name = f"{sweep.name}-{run.trial}-{variant}"
        with torch_threads(run.config.threads):
            outcomes = _evaluated(sweep, read_spec(folder / variant), name=name)
        outcomes.write(folder / rows_file(variant))
        found = rates(counts_of(sweep, outcomes)["test"])
        run.tracked.metrics({f"not_as_published/{variant}/{k}": v for k, v in found.items()})


def rows_file(variant: str = "") -> str:
    """Name of the file of the rows of a training's last net, or of another, in a trial's folder."""
    return f"outcomes-{variant}.parquet" if variant else "outcomes.parquet"


def train_alone(run: SeedRun) -> int:
    """Train the net of a trial for that trial alone; return the number of examples crafted."""
    train_in(run, run.config, run.folder, on_epoch=Rungs(sweep_of(run), run.report))
    return perturbed_examples(run.config)


def train_in(
    run: SeedRun,
    config: TrainConfig,
    folder: Path,
    *,
    on_epoch: OnEpoch = lambda _epoch, _model: None,
) -> None:
    """Train a net into a folder of a trial's study, with that trial's resources and MLflow run."""
    train_anywhere(
        config,
        folder,
        run.begun,
        run.resources,
        on_ray=config.workers > 1,  # one worker is this process, which has what it asked for
        metrics=Metrics(study=run.study.config.name, run=str(folder.relative_to(run.study.path))),
        states=snapshots_of(run.study, config).folder,
        on_epoch=on_epoch,
    )


def sweep_of(run: SeedRun) -> SweepConfig:
    """Settings of the study of a run."""
    return cast("SweepConfig", run.study.config)


def _evaluated(sweep: SweepConfig, model: ModelSpec, *, name: str) -> Outcomes:
    """Rows of a model on all splits with examples, under the threat of the study's base.

    All models of a study are evaluated alike, whatever the search changes.

    Raises:
        DivergedError: see `_scored`.
    """
    data, threat = sweep.base.data, sweep.base.attack.threat
    with _own_images(), _scored():
        each = [
            evaluate({name: model}, data, sweep.battery, threat=threat, split=split)[name]
            for split in evaluated_splits(data)
        ]
        return Outcomes.of([result.complete().table for result in each])


@contextmanager
def _scored() -> Iterator[None]:
    """Around what scores a trial's net: one that nothing can score was made so by its settings.

    Raises:
        DivergedError: its logits are not finite, or its gradients are zero everywhere.
    """
    try:
        yield
    except UnscorableError as error:
        raise DivergedError(f"the trained {error}") from error


@contextmanager
def _own_images() -> Iterator[None]:
    """Ask nobody, while the block runs, if images are the net's: it was trained on them.

    A half-trained net that guesses is an ordinary trial. Its record holds the remark all the same.
    """

    def is_other(record: logging.LogRecord) -> bool:
        return CHANCE not in record.getMessage()

    remarks = logging.getLogger("fftune.evaluation.job")
    remarks.addFilter(is_other)
    try:
        yield
    finally:
        remarks.removeFilter(is_other)


def counts_of(sweep: SweepConfig, outcomes: Outcomes) -> dict[Selection, RiskCounts]:
    """Counts by split; of a split without examples all are 0, and every rate is undefined."""
    some = evaluated_splits(sweep.base.data)
    attack = first_attack(sweep)
    return {
        split: RiskCounts.of(outcomes, attack=attack, split=split)
        if split in some
        else RiskCounts()
        for split in SPLITS
    }


def first_attack(sweep: SweepConfig) -> str:
    """Name of the attack that counts the risks of a front: the battery's first."""
    return attacks_of(sweep.battery, sweep.base.attack.threat)[0].name


def hypocritical_rows(
    study: StudyDir, number: int, split: Selection, variant: str = ""
) -> list[Outcomes]:
    """Rows of the hypocritical attack on one trial, one table a training seed.

    Args:
        variant: key of `VARIANTS` for another net than the last.
    """
    attack = first_attack(cast("SweepConfig", study.config))
    folders = [study.seed_folder(number, seed) for seed in study.config.training_seeds]
    return [
        Outcomes.read(folder / rows_file(variant)).where(
            goal="hypocritical", attack=attack, split=split
        )
        for folder in folders
    ]


def estimates(study: StudyDir, numbers: Sequence[int]) -> dict[int, Estimates]:
    """Two-level bootstrap intervals of the risks of these trials, by trial."""
    return {
        number: {
            split: risks_over_seeds(hypocritical_rows(study, number, split))
            for split in SPLITS
            if study.results(number)[0].counts(split).total
        }
        for number in numbers
    }


@dataclass(frozen=True, slots=True)
class Rungs:
    """Epoch callback that reports both risks of a model in training at the rungs."""

    sweep: SweepConfig
    report: Report

    def __call__(self, epoch: EpochRecord, model: Any) -> None:
        """Run the hypocritical attack alone, with few steps, on a part of the validation split."""
        sweep = self.sweep
        if epoch.epoch not in sweep.stopping.rungs:
            return
        base, stopping = sweep.base, sweep.stopping
        dataset = sample(base.data, "validation", stopping.examples)
        battery = replace(sweep.battery, name="risks", steps=stopping.steps, examples=None)
        threat = base.attack.threat
        friend = [p for p in attacks_of(battery, threat) if p.goal == "hypocritical"]
        with _scored():
            outcomes = evaluate(model, dataset, battery, threat=threat, attacks=friend)
        self.report(epoch.epoch, RiskCounts.of_friend(outcomes))


def evaluated_splits(data: DataSpec) -> tuple[Selection, ...]:
    """Splits with examples: both, or `test` alone where all images train, as in the papers."""
    return SPLITS if len(place_framed(data, "validation")[1]) else ("test",)


def rates(counts: RiskCounts) -> dict[str, float]:
    """Defined rates by name; MLflow cannot draw a nan."""
    return {name: rate.value for name, rate in counts.rates().items() if rate.n}
