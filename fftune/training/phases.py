"""The training examples of every epoch, phase after phase, shared out among the processes."""

import hashlib
import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

from fftune.config import DataSpec, InputSpec, LoaderConfig, Phase, TrainConfig, require
from fftune.data import Loader, open_loader
from fftune.data.catalog import place_framed
from fftune.data.dataset import Batch
from fftune.training.distributed import ProcessGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochStream:
    """Loaders, one a phase, and the epochs, counted from 1, that each of them serves."""

    phases: tuple[Phase, ...]
    loaders: tuple[Loader, ...]
    inputs: InputSpec
    """What the net must know: images are as large as in the last phase."""
    hash: str
    """Of the examples of all phases."""

    def phase(self, epoch: int) -> int:
        """Which phase an epoch belongs to."""
        ends = list(accumulate(phase.epochs for phase in self.phases))
        return min(bisect_right(ends, epoch - 1), len(ends) - 1)

    def examples(self, epoch: int) -> int:
        """How many examples an epoch has, over all processes."""
        return len(self.loaders[self.phase(epoch)].rows)

    def batch_size(self, epoch: int) -> int:
        """Examples a step, over all processes; the last step may have fewer."""
        return self.phases[self.phase(epoch)].batch_size

    def steps(self, epoch: int) -> int:
        """Steps of an epoch."""
        return math.ceil(self.examples(epoch) / self.batch_size(epoch))

    def source(self, epoch: int) -> str:
        """The name of an epoch's data set, which keys its noise."""
        return self.loaders[self.phase(epoch)].part.source.name

    def share(self, epoch: int, step: int) -> tuple[int, int]:
        """How many examples of a step, counted from 0, are this process's, and everybody's.

        Processes take turns along the epoch's order, so that shares differ by one at most.
        """
        loader, total = self.loaders[self.phase(epoch)], self.examples(epoch)
        own, size = len(range(loader.rank, total, loader.ranks)), loader.config.batch_size
        mine = min(size, max(0, own - step * size))
        return mine, min(self.batch_size(epoch), total - step * self.batch_size(epoch))

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """This process's share of each step, from the step `start` on."""
        return self.loaders[self.phase(epoch)].epoch(epoch, start=start)


def open_stream(config: TrainConfig, group: ProcessGroup, *, device: str) -> EpochStream:
    """The feed of a run.

    Raises:
        ConfigError: a batch is larger than the data.
        DataError: the data are missing or damaged.
    """
    inputs, phases = check_stream(config), phases_of(config)
    loaders = tuple(_loader(config, phase, group, device) for phase in phases)
    text = " ".join(loader.hash() for loader in loaders)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return EpochStream(phases=phases, loaders=loaders, inputs=inputs, hash=digest)


def check_stream(config: TrainConfig) -> InputSpec:
    """What the images of the last phase are like; of each phase one is decoded.

    Raises:
        ConfigError: a batch is larger than the data.
        DataError: the data are missing or damaged.
    """
    for phase in phases_of(config):
        part, rows = place_framed(spec_of(config, phase), "train")
        size, found = phase.batch_size, len(rows)
        require("optimizer.batch_size", size <= found, f"<= train_size {found}", size)
        height, width, channels = part.images.read(int(rows[0])).pixels.shape
        if phase.resized_crop:
            height = width = phase.resized_crop
    if config.validate_every:
        some, every = len(place_framed(config.data, "validation")[1]), config.validate_every
        require("validate_every", some > 0, "0 without data.validation_size", every)
    source = part.source
    return InputSpec(
        shape=(channels, height, width),
        classes=len(source.classes),
        mean=source.mean,
        std=source.std,
    )


def spec_of(config: TrainConfig, phase: Phase) -> DataSpec:
    """The data of a phase; what is cropped at random is not cut to a central square before."""
    size = None if phase.resized_crop else config.data.image_size
    return replace(config.data, name=phase.data, image_size=size)


def phases_of(config: TrainConfig) -> tuple[Phase, ...]:
    """The phases of a run, of which there is at least one."""
    optimizer = config.optimizer
    whole = Phase(
        epochs=max(optimizer.epochs, 1),
        batch_size=optimizer.batch_size,
        data=config.data.name,
        resized_crop=config.augmentation.resized_crop,
    )
    return config.phases or (whole,)


def _loader(config: TrainConfig, phase: Phase, group: ProcessGroup, device: str) -> Loader:
    spec = spec_of(config, phase)
    settings = LoaderConfig(
        batch_size=phase.batch_size // group.size,
        engine=config.engine,
        shuffle=True,
        augmentation=replace(config.augmentation, resized_crop=phase.resized_crop),
        seed=config.seed,
    )
    return open_loader(
        spec, "train", settings, rank=group.rank, ranks=group.size, pad=True, device=device
    )
