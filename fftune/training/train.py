"""From a run's settings to its checkpoint, in one process or in one of several."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from fftune.config import TrainConfig
from fftune.errors import ModelError
from fftune.models import device_of, torch_threads
from fftune.training.checkpoint import Checkpoint
from fftune.training.distributed import ProcessGroup
from fftune.training.history import EpochRecord
from fftune.training.init_model import init_model
from fftune.training.phases import check_stream
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
) -> Checkpoint:
    """Train one net, as the process that torch.distributed says this is, or alone.

    Args:
        folder: where the run keeps what it needs to go on, goes on from, and leaves what it came
            to; see `RunDir`. A run that has ended there is given back. None keeps nothing.
        states: where what it needs to go on is, if another attempt may find it there that has
            another folder; it then outlives the run.
        on_epoch: called by the leading process after every epoch, with the net in train mode.
        on_resume: called by it with the epochs of a run that is taken up again.
        save_seconds: between two states, at most one step's work more than this is lost.

    Raises:
        DivergedError: the loss is nan or infinite.
        ConfigError, DataError: the settings do not fit the data.
        ModelError: `folder` holds a run with other settings, or the state of one with other data;
            or the net ends the program.
        StorageError: there is no room for a state or a checkpoint.
    """
    group, device = ProcessGroup.current(), device_of(config.device)
    place = RunDir(folder, states) if folder else None
    if place and (done := _ended(place, config)):
        return done
    with answering(), torch_threads(config.threads), _own_randomness(device):
        run = Trainer.begin(config, group, device=device, folder=place, save_seconds=save_seconds)
        _go_on(run, on_resume)
        for epoch in run.epochs():
            if group.leads:
                on_epoch(epoch, run.model)
        if states:
            run.save()
        checkpoint = run.checkpoint()
    if place and group.leads:
        place.finish(checkpoint)
    return checkpoint


def _ended(place: RunDir, config: TrainConfig) -> Checkpoint | None:
    """What the run came to, if it has ended and that can be read."""
    place.require_settings(config)
    try:
        return place.finished()
    except ModelError as error:
        log.warning("%s; going back to the last state, or to the beginning", error)
        return None


def _go_on(run: Trainer, on_resume: OnResume) -> None:
    """Take a run up where its newest state stands; all processes take the same one."""
    state = run.folder.states.newest() if run.folder and run.group.leads else None
    state = run.group.leaders(state)
    if state is None:
        return
    run.load_state_dict(state)
    if run.group.leads:
        step = run.tally.step if run.tally else 0
        log.info("going on after epoch %d, step %d", len(run.history), step)
        on_resume(run.history)


def check(config: TrainConfig) -> None:
    """Fail before anything starts: a driver calls it. Decodes one image, and trains nothing.

    Raises:
        ConfigError, DataError, ModelError: the settings do not fit each other or the data.
    """
    device_of(config.device)
    init_model(config, check_stream(config))


@contextmanager
def _own_randomness(device: str) -> Iterator[None]:
    """Torch's generators inside the block leave those outside as they were."""
    devices = [torch.cuda.current_device()] if device == "cuda" else []
    with torch.random.fork_rng(devices):
        yield
