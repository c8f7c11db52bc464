"""Trainings on the digits, so short that a test can afford them."""

from dataclasses import replace

from fftune.config import TrainConfig
from fftune.recipes import Basis, training


def tiny(objective: str = "standard", epochs: int = 3, **settings: object) -> TrainConfig:
    """A training on the digits, so short that a test can afford it."""
    config = training(objective, Basis(scale="tiny"))
    optimizer = replace(config.optimizer, epochs=epochs)
    return replace(config, optimizer=optimizer, **settings)  # type: ignore[arg-type]
