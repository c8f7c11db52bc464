"""Trials whose nets are read off one training, or off two: `--strategy one-net` and `soup`.

<study>/shared/one-net-<seed>/                  one net for all lambdas, as `fftune train` leaves it
<study>/shared/soup-<seed>-first/, ...-second/  the net of the least lambda, and the net of the
                                                greatest, fine-tuned from it
"""

from dataclasses import replace
from functools import partial
from math import log1p
from pathlib import Path
from typing import cast

from fftune.config import OptimizerConfig, Study, SweepConfig, TrainConfig
from fftune.errors import ConfigError, ModelError
from fftune.objectives import find_objective
from fftune.sweeping.shared_training import shared_training
from fftune.sweeping.study_kind import SeedRun
from fftune.sweeping.training_trial import sweep_of, train_in
from fftune.training.checkpoint import Checkpoint, at_lambda
from fftune.training.cost import perturbed_examples
from fftune.training.history import write_history
from fftune.training.run_dir import RunDir
from fftune.training.soup import blended

TUNING = 0.1
"""Share of the learning rate at which a soup's second net is fine-tuned: at the whole of it the
first steps of lambda = 100 destroy the first net (see experiments/LOG.md)."""


def one_net_of(config: Study) -> list[TrainConfig]:
    """The only training of a study by `one-net`, of its first seed."""
    sweep = cast("SweepConfig", config)
    base = sweep.base
    longer = lengthened(base.optimizer, sweep.one_net_length)
    name = find_objective(base.objective).one_net
    return [replace(base, objective=name, lam=max(sweep.lam), optimizer=longer)]


def ends_of(config: Study) -> list[TrainConfig]:
    """Both trainings of a study by `soup`, of its first seed; the second begins with the first."""
    sweep = cast("SweepConfig", config)
    base = sweep.base
    tuned = slower(base.optimizer, TUNING)
    return [replace(base, lam=min(sweep.lam)), replace(base, lam=max(sweep.lam), optimizer=tuned)]


def lengthened(optimizer: OptimizerConfig, times: float) -> OptimizerConfig:
    """The same schedule over so many times the epochs."""
    epochs = round(optimizer.epochs * times)
    return replace(
        optimizer,
        epochs=epochs,
        milestones=tuple(round(epoch * times) for epoch in optimizer.milestones),
        knots=tuple((epoch * epochs / optimizer.epochs, lr) for epoch, lr in optimizer.knots),
    )


def slower(optimizer: OptimizerConfig, factor: float) -> OptimizerConfig:
    """The same schedule at so much of its learning rates."""
    knots = tuple((epoch, factor * lr) for epoch, lr in optimizer.knots)
    return replace(optimizer, lr=factor * optimizer.lr, knots=knots)


def read_off(run: SeedRun) -> int:
    """Leave in a trial's folder what the study's one net is at its lambda.

    Returns:
        The number of examples that were crafted, for all trials, at the first lambda; then 0.
    """
    (config,) = _seeded(run, one_net_of(run.study.config))
    folder = shared_training(
        run.study, f"one-net-{config.seed}", lambda folder: train_in(run, config, folder)
    )
    _leave(at_lambda(_ended(folder), run.config.lam), run.folder)
    return perturbed_examples(config) if _is_first(run) else 0


def blend(run: SeedRun) -> int:
    """Leave in a trial's folder the net between the ends, as far as its lambda on log(1 + lambda).

    Returns:
        As `read_off`.
    """
    low, high = _seeded(run, ends_of(run.study.config))
    name = f"soup-{low.seed}"
    first = shared_training(run.study, f"{name}-first", partial(train_in, run, low))
    tuned = replace(high, init_model=str(first / "checkpoint"))
    second = shared_training(run.study, f"{name}-second", partial(train_in, run, tuned))
    share = log1p(run.config.lam) - log1p(low.lam)
    share /= log1p(high.lam) - log1p(low.lam)
    _leave(blended(_ended(first), _ended(second), share), run.folder)
    return perturbed_examples(low) + perturbed_examples(high) if _is_first(run) else 0


def is_over_lambda(config: Study) -> bool:
    """Tell if lambda alone is searched, over several values and without early stopping."""
    if not isinstance(config, SweepConfig) or config.stopping.rungs or config.base.phases:
        return False
    return not config.space and len(config.lam) > 1


def has_one_net(config: Study) -> bool:
    """Tell if there is an objective of one net for all lambdas that are searched."""
    if not is_over_lambda(config):
        return False
    try:
        return bool(find_objective(cast("SweepConfig", config).base.objective).one_net)
    except ConfigError:
        return False


def _seeded(run: SeedRun, configs: list[TrainConfig]) -> list[TrainConfig]:
    return [replace(config, seed=run.config.seed) for config in configs]


def _is_first(run: SeedRun) -> bool:
    return bool(run.config.lam == sweep_of(run).lam[0])


def _ended(folder: Path) -> Checkpoint:
    """
    Raises:
        ModelError: somebody has taken the training's files away.
    """
    if (found := RunDir(folder).finished()) is None:
        raise ModelError(f"the training in {str(folder)!r} is gone: delete that folder, and resume")
    return found


def _leave(checkpoint: Checkpoint, folder: Path) -> None:
    write_history(checkpoint.history, folder / "history.parquet")
    checkpoint.save(folder / "checkpoint")
