"""Training several nets that are equal but for lambda, side by side in one process."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fftune.attacks import protocol_of
from fftune.config import InputSpec, TrainConfig, require
from fftune.errors import ConfigError, DivergedError, ModelError
from fftune.models import device_of, torch_threads
from fftune.models.side_by_side import side_by_side
from fftune.objectives import find_objective
from fftune.registry import is_of_file
from fftune.training import last_words
from fftune.training.checkpoint import Checkpoint
from fftune.training.distributed import ProcessGroup
from fftune.training.fused_trainer import FusedTrainer, failure_of, place_of
from fftune.training.init_model import init_model
from fftune.training.out_of_memory import within_memory
from fftune.training.phases import TrainingData
from fftune.training.run_dir import RunDir
from fftune.training.train import go_on, own_randomness
from fftune.user_code import answering

log = logging.getLogger(__name__)
Outcome = Checkpoint | DivergedError
"""What has become of a net: its checkpoint, or why its own training has failed."""


def train_fused(
    configs: Sequence[TrainConfig],
    *,
    folder: Path | None = None,
    save_seconds: float = 120.0,
    data: TrainingData | None = None,
) -> list[Outcome]:
    """Train a net for each config, as `train` does one by one, but for rounding.

    Each draws what it would draw alone: noise is keyed by the example and the epoch. A net whose
    loss is not finite fails alone; the others are trained to the end.

    Args:
        configs: equal but for lambda, which is above 0.
        folder: folder of the snapshots, from which a run is resumed, and of the nets' own folders:
            `place_of(folder, config)` is as `train` leaves it. What has ended is returned. None:
            nothing is saved.
        save_seconds: seconds between two snapshots; a crash loses at most one step more.
        data: what `open_data` has opened; None opens it now.

    Raises:
        ConfigError, DataError: the settings do not fit each other, or the data.
        OutOfMemoryError: the device is too small for a step.
        ModelError: `folder` holds runs with other settings, or a snapshot of them.
        StorageError: there is no room for a snapshot or a checkpoint.
    """
    _check(configs)
    if folder and (done := _ended(folder, configs)):
        RunDir(folder).tidy()  # the process that ended it may have been killed before
        return done
    config = configs[0]
    device = device_of(config.device)
    with (
        within_memory(config),
        answering(),
        torch_threads(config.threads),
        own_randomness(device),
    ):
        trainer = FusedTrainer.begin(
            config,
            ProcessGroup(),
            device=device,
            folder=RunDir(folder) if folder else None,
            save_seconds=save_seconds,
            data=data,
            lams=tuple(one.lam for one in configs),
        )
        go_on(trainer)
        with suppress(DivergedError):  # of all: each of the outcomes says it
            for _ in trainer.epochs():
                pass
        trainer.save_average()
        outcomes = trainer.outcomes()
    if folder:
        _finish(folder, configs, outcomes)
    return outcomes


def check_fused(configs: Sequence[TrainConfig], inputs: InputSpec) -> None:
    """Fail before anything starts: a driver calls it. Trains nothing.

    Raises:
        ConfigError: see `train_fused`; or the net's copies would mix.
    """
    _check(configs)
    config = configs[0]
    side_by_side(init_model(config, inputs), 2, inputs, name=f"model {config.model!r}")


def _check(configs: Sequence[TrainConfig]) -> None:
    """Refuse settings that cannot go side by side.

    Raises:
        ConfigError: they differ in more than lambda, or one of them is standard training; the
            objective has no lambda, or changes with the step; or the search parts an example's
            rows from those of its neighbours.
    """
    config = configs[0]
    alike = all(replace(one, lam=config.lam) == config for one in configs)
    lams = [one.lam for one in configs]
    require("fuse", alike and len(set(lams)) == len(lams), "of configs equal but for lam", lams)
    require("lam", min(lams) > 0, "> 0 in fused trainings: 0 is standard training, alone", lams)
    require("workers", config.workers == 1, "1 in fused trainings", config.workers)
    spec = find_objective(config.objective)
    plain = spec.weighted and spec.loss is not None and not (spec.one_step or spec.all_lambdas)
    require("objective", plain, "one with a lambda in fused trainings", config.objective)
    attack = config.attack
    if spec.crafting is None:
        return
    if is_of_file(attack.search) or protocol_of(attack) != "last_iterate" or attack.restarts > 1:
        raise ConfigError(
            "attack must be pgd or its kin in fused trainings, with one start and its last "
            f"iterate, got {attack.search!r}, {attack.restarts} x {protocol_of(attack)}"
        )


def _ended(folder: Path, configs: Sequence[TrainConfig]) -> list[Outcome]:
    """The outcomes of a run all of whose nets have ended; empty if one has not."""
    outcomes: list[Outcome] = []
    for config in configs:
        place = place_of(folder, config)
        try:
            found = place.finished() or failure_of(folder, config)
        except ModelError as error:
            log.warning("%s; going back to the last state, or to the beginning", error)
            return []
        if not isinstance(found, Outcome):
            return []
        outcomes.append(found)
    return outcomes


def _finish(folder: Path, configs: Sequence[TrainConfig], outcomes: Sequence[Outcome]) -> None:
    for config, outcome in zip(configs, outcomes, strict=True):
        place = place_of(folder, config)
        if isinstance(outcome, Checkpoint):
            place.finish(outcome)
        else:
            last_words.leave(outcome, place.path)
    RunDir(folder).tidy()
