"""A net that takes its time, and may misbehave once, for tests of the pool."""

import os
import signal
import time
from pathlib import Path

import torch
from torch import Tensor, nn

SECONDS = 0.02


class Slow(nn.Module):
    """A linear net whose forward pass sleeps: work that can be interrupted costs no CPU."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(64, 10, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(SECONDS)
        return x.flatten(1) @ self.weight


class Quick(Slow):
    """The same net, which does not sleep."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight


class Hungry(Slow):
    """Takes far too much memory once: on whichever worker first removes the file."""

    def forward(self, x: Tensor) -> Tensor:
        meal = Path(os.environ["FFTUNE_TEST_MEAL"])
        if _mine(meal):
            self.eaten = torch.ones(4 * 2**30, dtype=torch.uint8)
            time.sleep(60)
        return super().forward(x)


class Suicidal(Slow):
    """Kills its own process whenever it meets a certain image."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) == 7 and os.environ.get("FFTUNE_TEST_DRIVER") != str(os.getpid()):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)


def _mine(file: Path) -> bool:
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    return True


def net() -> nn.Module:
    return Slow()


def hungry() -> nn.Module:
    return Hungry()


def suicidal() -> nn.Module:
    return Suicidal()


def quick() -> nn.Module:
    return Quick()
