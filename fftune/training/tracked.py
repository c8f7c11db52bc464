"""A training run with a name: its folder, its lock, its MLflow run."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from math import isfinite
from pathlib import Path

import torch
from torch import nn

from fftune.config import Resources, TrainConfig, differences, flat, from_json, to_json
from fftune.errors import ModelError, StudyError
from fftune.metrics import Metrics
from fftune.models import device_of
from fftune.storage import locked, write_text
from fftune.tracking.runs import TrackedRun, discard_runs, left_open
from fftune.tracking.store import Tracking, open_tracking
from fftune.training.checkpoint import Checkpoint
from fftune.training.cost import per_example
from fftune.training.history import EpochRecord
from fftune.training.run_dir import RunDir
from fftune.training.train import OnEpoch, check, train

log = logging.getLogger(__name__)


def train_tracked(
    config: TrainConfig,
    *,
    name: str,
    root: Path,
    resources: Resources,
    resume: bool,
    save_seconds: float = 120.0,
) -> tuple[Checkpoint, Path]:
    """Train in `<root>/runs/<name>`, with every epoch in MLflow; a finished run is given back.

    Raises:
        StudyError: the run exists with other settings, is unfinished and `resume` was not asked
            for, or is being trained by another process.
    """
    check(config)
    with open_run(config, root / "runs" / name, resume=resume) as folder:
        done = _finished(folder)
        if done is not None:
            if left_open(_tracking(config, root), _tags(name)):
                _tell_again(start_run(config, name, root), done, folder)
            return done, folder
        run = start_run(config, name, root)
        try:
            checkpoint = train_anywhere(
                config,
                folder,
                run,
                resources,
                on_ray=_asks_for_ray(config, resources),
                metrics=Metrics(study=name, run=name),
                save_seconds=save_seconds,
            )
        except BaseException:
            run.end("FAILED")
            raise
        _close(run, checkpoint, folder)
    return checkpoint, folder


def _finished(folder: Path) -> Checkpoint | None:
    try:
        return RunDir(folder).finished()
    except ModelError:
        return None  # `train` says why


def _tell_again(run: TrackedRun, checkpoint: Checkpoint, folder: Path) -> None:
    """All that was measured: whoever trained it died before MLflow knew."""
    for epoch in checkpoint.history:
        log_epoch(run, epoch)
    _close(run, checkpoint, folder)


def _close(run: TrackedRun, checkpoint: Checkpoint, folder: Path) -> None:
    run.file(folder / "history.parquet")
    run.tag("fftune.stopped", checkpoint.stopped)
    run.tag("fftune.data_hash", checkpoint.data_hash)
    run.end()


def train_anywhere(
    config: TrainConfig,
    folder: Path,
    run: TrackedRun,
    resources: Resources,
    *,
    on_ray: bool,
    metrics: Metrics,
    states: Path | None = None,
    on_epoch: OnEpoch = lambda _epoch, _model: None,
    save_seconds: float = 120.0,
) -> Checkpoint:
    """In this process, or by `config.workers` on Ray; every epoch goes to MLflow either way.

    Args:
        on_ray: which of them; several workers are always on Ray.
        states, save_seconds: as in `train`.
        on_epoch: as in `train`, after the epoch was logged; not called by workers on Ray.
    """

    def log_then_call(epoch: EpochRecord, model: nn.Module) -> None:
        log_epoch(run, epoch)
        count_epoch(metrics, epoch, config)
        on_epoch(epoch, model)

    def log_all(history: Sequence[EpochRecord]) -> None:
        for epoch in history:
            log_epoch(run, epoch)

    if not on_ray:
        return train(
            config,
            folder=folder,
            states=states,
            on_epoch=log_then_call,
            on_resume=log_all,
            save_seconds=save_seconds,
        )
    from fftune.ray_cluster import cluster, require_shared_dir  # importing Ray takes seconds
    from fftune.training.ray_train import train_on_ray

    with cluster(resources):
        require_shared_dir(folder)
        return train_on_ray(
            config,
            folder=folder,
            metrics=metrics,
            states=states,
            gpus=resources.gpus,
            on_history=log_all,
            save_seconds=save_seconds,
        )


def _asks_for_ray(config: TrainConfig, resources: Resources) -> bool:
    """Several workers do, and so does who names a cluster or GPUs: this machine may have none."""
    return config.workers > 1 or resources.gpus > 0 or resources.address is not None


def start_run(config: TrainConfig, name: str, root: Path) -> TrackedRun:
    """The run's place in MLflow; an earlier attempt's is discarded."""
    tracking, tags = _tracking(config, root), _tags(name)
    discard_runs(tracking, tags)
    params = {**flat(config), "device": device_of(config.device)}
    return TrackedRun(tracking, name, tags=tags, params=params)


def _tracking(config: TrainConfig, root: Path) -> Tracking:
    return open_tracking(root, f"train-{config.data.name}")


def _tags(name: str) -> dict[str, str]:
    return {"fftune.run": name, "fftune.kind": "train"}


def log_epoch(run: TrackedRun, epoch: EpochRecord) -> None:
    """What was measured in an epoch."""
    values = asdict(epoch)
    step = values.pop("epoch")
    run.metrics({f"train/{k}": value for k, value in values.items() if isfinite(value)}, step)


def count_epoch(metrics: Metrics, epoch: EpochRecord, config: TrainConfig) -> None:
    """What an epoch took, for those who watch the cluster."""
    examples = round(epoch.examples_per_second * epoch.seconds)
    passes = per_example(config) * examples
    metrics.epoch(
        examples=examples,
        forwards=passes.forwards,
        backwards=passes.backwards,
        loss=epoch.loss,
        accuracy=epoch.accuracy,
    )
    if device_of(config.device) == "cuda":
        metrics.gpu_memory(torch.cuda.max_memory_allocated())


@contextmanager
def open_run(config: TrainConfig, folder: Path, *, resume: bool) -> Iterator[Path]:
    """The run's folder, locked against a second process while the block runs."""
    with locked(folder, f"run {folder.name!r}"):
        kept = folder / "config.json"
        if kept.exists():
            old = from_json(TrainConfig, kept.read_text(encoding="utf-8"))
            if old != config:
                raise StudyError(
                    f"run {folder.name!r} exists with other settings "
                    f"({differences(old, config)}); use --name"
                )
            if not resume and not (folder / "checkpoint" / "model.json").exists():
                raise StudyError(f"run {folder.name!r} is unfinished; --resume goes on with it")
        write_text(kept, to_json(config))
        yield folder
