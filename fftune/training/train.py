"""Training one net: from its settings to its checkpoint, alone or as one of several processes."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from fftune.config import TrainConfig, require
from fftune.errors import ModelError
from fftune.models import device_of, torch_threads
from fftune.objectives import find_objective
from fftune.training.checkpoint import Checkpoint
from fftune.training.distributed import ProcessGroup
from fftune.training.history import EpochRecord
from fftune.training.init_model import init_model
from fftune.training.out_of_memory import within_memory
from fftune.training.phases import TrainingData, open_data
from fftune.training.run_dir import RunDir
from fftune.training.trainer import Trainer
from fftune.user_code import answering

log = logging.getLogger(__name__)

OnEpoch = Callable[[EpochRecord, nn.Module], None]
OnResume = Callable[[Sequence[EpochRecord]], None]


def train(
    config: TrainConfig,
    *,
    folder: Path | None = None,
    states: Path | None = None,
    on_epoch: OnEpoch = lambda _epoch, _model: None,
    on_resume: OnResume = lambda _history: None,
    save_seconds: float = 120.0,
    data: TrainingData | None = None,
) -> Checkpoint:
    """Train one net, as the process that torch.distributed says this is, or alone.

    Args:
        folder: folder of snapshots, of the history and of the checkpoint; see `RunDir`. A run is
            resumed from its newest snapshot there; one that has ended is returned. None: nothing
            is saved.
        states: another folder for snapshots, which outlive the run: a later attempt with another
            `folder` resumes from them.
        on_epoch: called by the leading process after every epoch, with the net in train mode.
        on_resume: called by it with the epochs of a run that is resumed.
        save_seconds: seconds between two snapshots; a crash loses at most one step more.
        data: what `open_data` has opened; None opens it now.

    Raises:
        DivergedError: the loss is nan or infinite.
        ConfigError, DataError: the settings do not fit the data.
        OutOfMemoryError: the device is too small for a step.
        ModelError: `folder` holds a run with other settings, or a snapshot of one with other data;
            or the net ends the program.
        StorageError: there is no room for a snapshot or a checkpoint.
    """
    group, device = ProcessGroup.current(), device_of(config.device)
    place = RunDir(folder, states) if folder else None
    if place and (done := _ended(place, config)):
        if group.leads:
            place.tidy()  # the process that ended it may have been killed before
        return done
    with (
        within_memory(config),
        answering(),
        torch_threads(config.threads),
        own_randomness(device),
    ):
        trainer = Trainer.begin(
            config, group, device=device, folder=place, save_seconds=save_seconds, data=data
        )
        go_on(trainer, on_resume)
        for epoch in trainer.epochs():
            if group.leads:
                on_epoch(epoch, trainer.model)
        if states:
            trainer.save()
        trainer.save_average()
        checkpoint = trainer.checkpoint()
    if place and group.leads:
        place.finish(checkpoint)
    return checkpoint


def _ended(place: RunDir, config: TrainConfig) -> Checkpoint | None:
    """The checkpoint of a run that has ended; None if it has not, or cannot be read."""
    place.require_settings(config)
    try:
        return place.finished()
    except ModelError as error:
        log.warning("%s; going back to the last state, or to the beginning", error)
        return None


def go_on(trainer: Trainer, on_resume: OnResume = lambda _history: None) -> None:
    """Resume a run from its newest snapshot, if there is one; all processes take the same."""
    state = trainer.folder.states.newest() if trainer.folder and trainer.group.leads else None
    state = trainer.group.leaders(state)
    if state is None:
        return
    trainer.load_state_dict(state)
    if trainer.group.leads:
        step = trainer.totals.step if trainer.totals else 0
        log.info("going on after epoch %d, step %d", len(trainer.history), step)
        on_resume(trainer.history)


def check(config: TrainConfig) -> TrainingData:
    """Fail before anything starts: a driver calls it. Decodes one image, and trains nothing.

    Returns:
        The data, which `train` then need not open again.

    Raises:
        ConfigError, DataError, ModelError: the settings do not fit each other or the data.
    """
    device_of(config.device)
    share, parts = config.optimizer.batch_size // config.workers, config.optimizer.accumulate
    require("optimizer.accumulate", parts <= share, f"<= {share}, the examples of a batch", parts)
    find_objective(config.objective)
    data = open_data(config)
    init_model(config, data.inputs)
    return data


@contextmanager
def own_randomness(device: str) -> Iterator[None]:
    """Fork torch's generators, so that the block leaves those outside as they were."""
    devices = [torch.cuda.current_device()] if device == "cuda" else []
    with torch.random.fork_rng(devices):
        yield
