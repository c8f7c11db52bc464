"""Rate of the device at hand, measured for at most two seconds on the real net."""

import time
from dataclasses import dataclass

import torch

from fftune.config import InputSpec, TrainConfig
from fftune.models import device_of, make_model, torch_threads
from fftune.training.flops import Flops
from fftune.user_code import answering

SECONDS = 1.5
"""Time after which no further pass is begun."""
LARGEST = 5e9
"""Operations of a pass that is timed, if more than one image fits in: a tenth of a second on a
slow CPU."""
IMAGES = 32
REPEATS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Operations a second in small batches, which larger ones exceed on many devices."""

    flops: float
    device: str
    images: int
    """Images of a pass."""
    n: int
    """Passes that were timed."""


def measure(config: TrainConfig, inputs: InputSpec, each: Flops) -> Throughput:
    """Time passes that give the gradient of the weights of a few random images, in eval mode.

    The first pass, in which libraries choose their algorithms, counts where there is no time for
    a second one.

    Args:
        each: operations of one image.
    """
    device = device_of(config.device)
    images = min(IMAGES, max(1, int(LARGEST / each.joint)))
    seconds: list[float] = []
    with answering(), torch_threads(config.threads):
        model = make_model(config.model, inputs, width=config.width, constants=config.constants).to(
            device
        )
        x = torch.rand(images, *inputs.shape, device=device)
        model.eval()
        began = time.perf_counter()
        while not seconds or (len(seconds) <= REPEATS and time.perf_counter() - began < SECONDS):
            at = time.perf_counter()
            with torch.autocast(device, torch.bfloat16, enabled=config.precision == "bf16"):
                loss = model(x).sum()
            loss.backward()
            if device == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - at)
    timed = sorted(seconds[1:] or seconds)
    middle = timed[len(timed) // 2]
    return Throughput(
        flops=images * each.joint / middle, device=device, images=images, n=len(timed)
    )
