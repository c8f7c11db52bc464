from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from fftune.config import Objective, TrainConfig
from fftune.recipes import Basis, training


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny(objective: Objective = "standard", epochs: int = 3, **settings: object) -> TrainConfig:
    """A training on the digits, so short that a test can afford it."""
    config = training(objective, Basis(scale="tiny"))
    optimizer = replace(config.optimizer, epochs=epochs)
    return replace(config, optimizer=optimizer, **settings)  # type: ignore[arg-type]
