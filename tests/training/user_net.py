"""Nets as a user would bring them: for 8 x 8 digits, and none with BatchNorm."""

import os
import time
from itertools import count
from pathlib import Path

from torch import Tensor, nn


def plain() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


class Patient(nn.Sequential):
    """Before a call in the midst of a training it waits for a file, if the environment names one.

    What a test does to the training in that while it does in time, however busy the machine is.
    """

    calls = count()

    def forward(self, x: Tensor) -> Tensor:
        awaited = os.environ.get("FFTUNE_TEST_AWAITS")
        while next(Patient.calls) >= 600 and awaited and not Path(awaited).exists():
            time.sleep(0.05)
        return super().forward(x)


def patient() -> nn.Module:
    return Patient(*plain())


def dropping() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Dropout(), nn.Linear(32, 10))


def five() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5))


def colour() -> nn.Module:
    return nn.Conv2d(3, 1, 3)


class Viewed(nn.Module):
    """A net with `view` after a convolution, as most people write it."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.head = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm(self.convolution(x)).relu()
        return self.head(out.view(len(x), -1))


def viewed() -> nn.Module:
    return Viewed()


class Flattened(Viewed):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.convolution(x)).relu().flatten(1))


def flattened() -> nn.Module:
    return Flattened()
