"""Trainings of a grid that go side by side in one process."""

from dataclasses import replace

from fftune.config import SweepConfig, TrainConfig, with_settings


def groups_of(sweep: SweepConfig, seed: int) -> list[list[TrainConfig]]:
    """The trainings at each lambda above 0, `sweep.fuse` together, in the grid's order.

    Lambda = 0 is in none: it is standard training, without a search.
    """
    grid = [replace(with_settings(sweep.base, one), seed=seed) for one in sweep.grid]
    robust = [one for one in grid if one.lam > 0]
    return [robust[at : at + sweep.fuse] for at in range(0, len(robust), sweep.fuse)]


def group_of(sweep: SweepConfig, config: TrainConfig) -> list[TrainConfig]:
    """The group of a training; it alone where it has none."""
    groups = groups_of(sweep, config.seed)
    return next((group for group in groups if config in group), [config])
