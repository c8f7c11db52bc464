"""The training examples of every epoch, phase after phase, shared out among the processes."""

import hashlib
import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

from fftune.config import DataSpec, InputSpec, LoaderConfig, Phase, TrainConfig, require
from fftune.data import Loader
from fftune.data.catalog import opened_once, place_framed
from fftune.data.dataset import Batch
from fftune.data.loader import loader_of
from fftune.data.official_split import ListedSplit
from fftune.training.distributed import ProcessGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """The examples of a run: listed and divided, none of them decoded yet."""

    phases: tuple[ListedSplit, ...]
    """The training split of each phase."""
    validation: ListedSplit | None
    """The validation split; None for a run that never validates."""
    inputs: InputSpec
    """Shape, classes and normalisation for the net: images are as large as in the last phase."""

    @property
    def origin(self) -> str:
        """Words on the files that train; empty where there are none."""
        found = (listed.part.origin for listed in self.phases)
        return "; ".join(dict.fromkeys(filter(None, found)))


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochStream:
    """Loaders, one for each phase, and the epochs, counted from 1, that each of them serves."""

    phases: tuple[Phase, ...]
    loaders: tuple[Loader, ...]
    inputs: InputSpec
    """Shape, classes and normalisation for the net: images are as large as in the last phase."""
    hash: str
    """16 hex digits that name the examples of all phases."""

    def phase(self, epoch: int) -> int:
        """The index of the phase that an epoch belongs to."""
        ends = list(accumulate(phase.epochs for phase in self.phases))
        return min(bisect_right(ends, epoch - 1), len(ends) - 1)

    def examples(self, epoch: int) -> int:
        """The number of examples of an epoch, over all processes."""
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
        """Examples of a step, counted from 0: those of this process, and those of all.

        Processes take turns along the epoch's order, so that shares differ by one at most.
        """
        loader, total = self.loaders[self.phase(epoch)], self.examples(epoch)
        own, size = len(range(loader.rank, total, loader.ranks)), loader.config.batch_size
        mine = min(size, max(0, own - step * size))
        return mine, min(self.batch_size(epoch), total - step * self.batch_size(epoch))

    @property
    def waited(self) -> float:
        """Seconds for which batches were waited for, over all phases; see `Loader.waited`."""
        return sum(loader.waited for loader in self.loaders)

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """This process's share of each step, from the step `start` on."""
        return self.loaders[self.phase(epoch)].epoch(epoch, start=start)


def open_data(config: TrainConfig) -> TrainingData:
    """Open every data set of a run, once; one image of each phase is decoded.

    Raises:
        ConfigError: a batch is larger than the data.
        DataError: the data are missing or damaged.
    """
    with opened_once():
        return _open_data(config)


def _open_data(config: TrainConfig) -> TrainingData:
    phases = []
    for phase in phases_of(config):
        found = place_framed(spec_of(config, phase), "train")
        size, count = phase.batch_size, len(found.rows)
        require("optimizer.batch_size", size <= count, f"<= train_size {count}", size)
        inputs = found.inputs
        if phase.resized_crop:
            shape = (inputs.shape[0], phase.resized_crop, phase.resized_crop)
            inputs = replace(inputs, shape=shape)
        phases.append(found)
    validation = None
    every = config.validate_every
    # Of phases, the data set that they are made of need not be there where nothing validates.
    if every or (every is None and config.data.validation_size != 0):
        found = place_framed(config.data, "validation")
        some = len(found.rows) > 0
        require("validate_every", some or every is None, "0 without data.validation_size", every)
        validation = found if some else None
    return TrainingData(phases=tuple(phases), validation=validation, inputs=inputs)


def open_stream(
    config: TrainConfig, group: ProcessGroup, *, device: str, data: TrainingData | None = None
) -> EpochStream:
    """The epochs of a run, as one process of a group receives them.

    Args:
        data: what `open_data` has opened; None opens it now.

    Raises:
        ConfigError: a batch is larger than the data.
        DataError: the data are missing or damaged.
    """
    data, phases = data or open_data(config), phases_of(config)
    loaders = tuple(
        _loader(config, phase, found, group, device)
        for phase, found in zip(phases, data.phases, strict=True)
    )
    text = " ".join(loader.hash() for loader in loaders)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return EpochStream(phases=phases, loaders=loaders, inputs=data.inputs, hash=digest)


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


def _loader(
    config: TrainConfig, phase: Phase, split: ListedSplit, group: ProcessGroup, device: str
) -> Loader:
    settings = LoaderConfig(
        batch_size=phase.batch_size // group.size,
        engine=config.engine,
        shuffle=True,
        augmentation=replace(config.augmentation, resized_crop=phase.resized_crop),
        seed=config.seed,
    )
    return loader_of(
        split, "train", settings, rank=group.rank, ranks=group.size, pad=True, device=device
    )
