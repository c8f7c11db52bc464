import os

# Before torch is imported: rows are equal to the bit only for equal thread counts.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from torch import Tensor, nn

from fftune.noise import Noise


class TwoClass(nn.Module):
    """Logits (0, w.x): p(class 1) is a logistic function of a linear score."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        score = x.flatten(1) @ self.weight
        return torch.stack([torch.zeros_like(score), score], 1)


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def noise() -> Noise:
    return Noise(0).fold("digits", "test")


@pytest.fixture
def linear(rng: torch.Generator) -> TwoClass:
    return TwoClass(torch.randn(12, generator=rng))
