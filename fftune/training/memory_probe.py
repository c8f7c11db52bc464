"""Memory that a training needs on the card of this process, measured on its first steps."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from math import prod

import torch
from torch import nn

from fftune.config import Phase, TrainConfig
from fftune.data.catalog import place_framed
from fftune.data.dataset import Batch
from fftune.models import torch_threads
from fftune.training.distributed import ProcessGroup
from fftune.training.fused_trainer import FusedTrainer
from fftune.training.out_of_memory import within_memory
from fftune.training.phases import EpochStream, phases_of, spec_of
from fftune.training.trainer import Trainer

STEPS = 4
"""Steps that are taken: a captured step runs twice, is recorded, and is replayed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _FirstSteps(EpochStream):
    """The first steps of every epoch."""

    def steps(self, epoch: int) -> int:
        return min(STEPS, EpochStream.steps(self, epoch))

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        return islice(EpochStream.batches(self, epoch, start=start), STEPS)


def take_steps(config: TrainConfig, device: str, lams: tuple[float, ...] = ()) -> nn.Module:
    """Craft and train the first steps of the largest phase; return the net.

    Args:
        lams: train so many nets side by side, and return them as one.

    Raises:
        OutOfMemoryError: the device is too small for one step.
    """
    few = replace(_largest_phase(config), validate_every=0)
    with torch_threads(few.threads), within_memory(few):
        trainer = (FusedTrainer if lams else Trainer).begin(
            few,
            ProcessGroup.current(),
            device=device,
            folder=None,
            save_seconds=float("inf"),
            lams=lams,
        )
        stream = trainer.stream
        trainer.stream = _FirstSteps(
            **{name: getattr(stream, name) for name in EpochStream.__slots__}
        )
        next(trainer.epochs(), None)  # none where the net stays as it was initialised
        return trainer.model


def _largest_phase(config: TrainConfig) -> TrainConfig:
    """The settings of one process in the phase whose batches have the most pixels, alone."""

    def pixels(phase: Phase) -> int:
        shape = place_framed(spec_of(config, phase), "train").inputs.shape
        side = phase.resized_crop
        return phase.batch_size * (shape[0] * side**2 if side else prod(shape))

    phase = max(phases_of(config), key=pixels)
    optimizer = replace(config.optimizer, batch_size=phase.batch_size // config.workers)
    return replace(
        config,
        workers=1,
        min_workers=None,
        optimizer=optimizer,
        phases=(),
        data=spec_of(config, phase),
        augmentation=replace(config.augmentation, resized_crop=phase.resized_crop),
    )


def peak_memory() -> tuple[int, int, str]:
    """Bytes that this process takes of its card at most, bytes of the card, and its name.

    The first is the allocator's peak, and what is neither free nor the allocator's: the context,
    libraries, and whatever others keep there.
    """
    free, total = torch.cuda.mem_get_info()
    beside = total - free - torch.cuda.memory_reserved()
    return torch.cuda.max_memory_reserved() + beside, total, torch.cuda.get_device_name()
