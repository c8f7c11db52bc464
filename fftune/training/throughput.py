"""Seconds of a forward and a backward pass on this machine: they turn passes into hours."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

from fftune.config import TrainConfig
from fftune.models import device_of, make_model, torch_threads
from fftune.training.phases import TrainingData, open_data
from fftune.user_code import answering

REPEATS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Seconds for one example, in a full batch, on the device that trains."""

    forward: float
    backward: float
    """Seconds of the backward pass alone."""
    device: str


def measure(config: TrainConfig, data: TrainingData | None = None) -> Throughput:
    """Time forward and backward passes of random images; medians of a few, after a first one.

    Args:
        data: what `open_data` has opened; None opens it now, for the size of images.
    """
    inputs, device = (data or open_data(config)).inputs, device_of(config.device)
    with answering(), torch_threads(config.threads):
        model = make_model(
            config.model, inputs, seed=0, width=config.width, constants=config.constants
        ).to(device)
        size = config.optimizer.batch_size
        x = torch.rand(size, *inputs.shape, device=device, requires_grad=True)

        def forward() -> None:
            with torch.no_grad():
                model(x)

        def both() -> None:
            model(x).sum().backward()

        once, twice = (_seconds(call, device) / size for call in (forward, both))
    return Throughput(forward=once, backward=max(twice - once, 0.0), device=device)


def _seconds(call: Callable[[], None], device: str) -> float:
    call()
    found = []
    for _ in range(REPEATS):
        _wait(device)
        began = time.perf_counter()
        call()
        _wait(device)
        found.append(time.perf_counter() - began)
    return median(found)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
