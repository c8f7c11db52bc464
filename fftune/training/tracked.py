"""Training runs with a name: their folder, lock and MLflow run."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from math import isfinite
from pathlib import Path

from torch import nn

from fftune.config import Resources, TrainConfig, differences, flat, read_settings, to_json
from fftune.errors import ModelError, StorageError, StudyError
from fftune.metrics import Metrics
from fftune.models import device_of
from fftune.names import require_name
from fftune.objectives import find_objective
from fftune.storage import locked, write_text
from fftune.tracking.meanwhile import meanwhile
from fftune.tracking.runs import TrackedRun, end_stale_runs, left_open, open_to_write
from fftune.tracking.store import Tracking
from fftune.training.checkpoint import Checkpoint
from fftune.training.cost import count_epoch
from fftune.training.history import EpochRecord
from fftune.training.phases import TrainingData
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
    """Train in `<root>/runs/<name>`, with every epoch in MLflow; a finished run is returned.

    Raises:
        ConfigError: no folder can have that name.
        StudyError: the run exists with other settings, is unfinished and `resume` was not asked
            for, or is being trained by another process.
    """
    name = require_name("name", name)
    data = check(config)
    with open_run(config, root / "runs" / name, resume=resume) as folder:
        done = _finished(folder, config)
        if done is not None:
            RunDir(folder).tidy()  # the process that ended it may have been killed before
            tracking = _tracking(config, root)
            if left_open(tracking, _tags(name)):
                # The open one is ended last: it is the mark that the new one is not whole.
                _log_again(_begin_run(config, name, tracking), done, folder)
            return done, folder
        log.info("training %s: %s", name, described(config))
        with meanwhile(lambda: start_run(config, name, root)) as run:
            try:
                checkpoint = train_anywhere(
                    config,
                    folder,
                    run,
                    resources,
                    on_ray=_asks_for_ray(config, resources),
                    metrics=Metrics(study=name, run=name),
                    save_seconds=save_seconds,
                    data=data,
                )
            except BaseException:
                if not RunDir(folder).complete:  # else it stays open, and is told again
                    with suppress(StorageError):  # then there is no run
                        run().end("FAILED")
                raise
            if data.origin:
                run().tag("fftune.data_files", data.origin)
            _close(run(), checkpoint, folder)
    return checkpoint, folder


def described(config: TrainConfig) -> str:
    """Words for a training, as in "thrm, lambda 20, 40 epochs of digits, on cpu"."""
    spec = find_objective(config.objective)
    weight = f", lambda {config.lam:g}" if spec.weighted else ""
    epochs = f"{config.optimizer.epochs} epochs of {config.data.name}"
    workers = f", {config.workers} workers" if config.workers > 1 else ""
    return f"{config.objective}{weight}, {epochs}, on {device_of(config.device)}{workers}"


def _finished(folder: Path, config: TrainConfig) -> Checkpoint | None:
    try:
        RunDir(folder).require_settings(config)
        return RunDir(folder).finished()
    except ModelError:
        return None  # `train` says why


def _log_again(run: TrackedRun, checkpoint: Checkpoint, folder: Path) -> None:
    """Log a run that was trained by a process that died before it had logged all."""
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
    run: Callable[[], TrackedRun],
    resources: Resources,
    *,
    on_ray: bool,
    metrics: Metrics,
    states: Path | None = None,
    on_epoch: OnEpoch = lambda _epoch, _model: None,
    save_seconds: float = 120.0,
    data: TrainingData | None = None,
) -> Checkpoint:
    """Train in this process, or on `config.workers` of Ray; every epoch goes to MLflow either way.

    Args:
        run: asked for when there is something to log, as MLflow may still be opened until then.
        on_ray: train on Ray, where several workers always are.
        states, save_seconds: as in `train`.
        on_epoch: as in `train`, after the epoch was logged; not called by workers on Ray.
        data: as in `train`; workers on Ray open their own.
    """

    def log_then_call(epoch: EpochRecord, model: nn.Module) -> None:
        log_epoch(run(), epoch)
        count_epoch(metrics, epoch, config)
        on_epoch(epoch, model)

    def log_all(history: Sequence[EpochRecord]) -> None:
        for epoch in history:
            log_epoch(run(), epoch)

    if not on_ray:
        return train(
            config,
            folder=folder,
            states=states,
            on_epoch=log_then_call,
            on_resume=log_all,
            save_seconds=save_seconds,
            data=data,
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
            gpus=resources.share,
            on_history=log_all,
            save_seconds=save_seconds,
        )


def _asks_for_ray(config: TrainConfig, resources: Resources) -> bool:
    """Train on Ray with several workers, and if a cluster or GPUs are named: none may be here."""
    return config.workers > 1 or resources.share > 0 or resources.address is not None


def start_run(config: TrainConfig, name: str, root: Path) -> TrackedRun:
    """Begin the MLflow run of a training, in whose folder's lock this is: it takes the place of
    those of earlier attempts.
    """
    tracking = _tracking(config, root)
    end_stale_runs(tracking, _tags(name), lambda _tags: False)
    return _begin_run(config, name, tracking)


def _begin_run(config: TrainConfig, name: str, tracking: Tracking) -> TrackedRun:
    tags = _tags(name)
    params = {**flat(config), "device": device_of(config.device)}
    return TrackedRun(tracking, name, tags=tags, params=params, replaces=tags)


def _tracking(config: TrainConfig, root: Path) -> Tracking:
    return open_to_write(root, f"train-{config.data.name}")


def _tags(name: str) -> dict[str, str]:
    return {"fftune.run": name, "fftune.kind": "train"}


def log_epoch(run: TrackedRun, epoch: EpochRecord) -> None:
    """Log the measurements of an epoch to MLflow."""
    values = asdict(epoch)
    step = values.pop("epoch")
    run.metrics({f"train/{k}": value for k, value in values.items() if isfinite(value)}, step)


@contextmanager
def open_run(config: TrainConfig, folder: Path, *, resume: bool) -> Iterator[Path]:
    """Lock a run's folder against a second process while the block runs.

    Raises:
        StudyError: the run exists with other settings, or is unfinished and not resumed.
    """
    with locked(folder, f"run {folder.name!r}"):
        kept = folder / "config.json"
        if kept.exists():
            old = read_settings(TrainConfig, kept, error=StudyError)
            if old != config:
                raise StudyError(
                    f"run {folder.name!r} exists with other settings "
                    f"({differences(old, config)}); use --name"
                )
            if not resume and not (folder / "checkpoint" / "model.json").exists():
                raise StudyError(f"run {folder.name!r} is unfinished; --resume goes on with it")
        else:
            write_text(kept, to_json(config))
        yield folder
