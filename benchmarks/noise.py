"""Keyed noise: Threefry on whole arrays against one numpy generator per row.

    python benchmarks/noise.py [--rounds N] [--device cuda]

The row loop keys numpy's Philox anew for each example, as fftune 0.1.0 did. Numpy is what a CPU
draws with, torch what other devices do: once on the CPU, once on the device, where draws are
recorded and must have the CPU's bits. All draw in turn; milliseconds a batch, medians, one thread.
"""

import argparse
import hashlib
import platform
import statistics
import time
from collections.abc import Callable
from unittest import mock

import numpy as np
import torch
from arguments import device, whole
from torch import Tensor

from fftune import keyed_noise
from fftune.keyed_noise import Noise

BATCHES = ((128, (1,)), (128, (1, 8, 8)), (128, (3, 32, 32)), (1000, (3, 32, 32)))
WARM = 5
"""Rounds that are not timed: a device records the third."""


def row_loop(ids: Tensor, shape: tuple[int, ...], *, normal: bool) -> Tensor:
    out = np.empty((len(ids), int(np.prod(shape))), np.float32)
    for row, i in zip(out, ids.tolist(), strict=True):
        text = repr((0, ("cifar10", "test"), i)).encode()
        key = int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")
        stream = np.random.Generator(np.random.Philox(key=key))
        read = stream.standard_normal if normal else stream.random
        row[:] = read(row.size, np.float32)
    return torch.from_numpy(out).reshape(len(ids), *shape)


def by_torch(draw: Callable[[], Tensor]) -> Tensor:
    with mock.patch.object(keyed_noise, "_by_numpy", return_value=False):
        return draw()


def milliseconds(work: Callable[[], Tensor]) -> float:
    began = time.perf_counter()
    if work().is_cuda:
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - began)


def works_of(
    kind: str, count: int, shape: tuple[int, ...], device: str
) -> dict[str, Callable[[], Tensor]]:
    noise, ids = Noise(0).fold("cifar10", "test"), torch.randperm(50_000)[:count]
    draw = getattr(noise, kind)
    works = {
        "row loop": lambda: row_loop(ids, shape, normal=kind == "normal"),
        "numpy": lambda: draw(ids, shape),
        "torch, CPU": lambda: by_torch(lambda: draw(ids, shape)),
    }
    if device != "cpu":
        there = ids.to(device)
        works[f"torch, {device}"] = lambda: draw(there, shape)
    return works


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=whole, default=20)
    parser.add_argument("--device", type=device, default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    name = "" if options.device == "cpu" else f", {torch.cuda.get_device_name(options.device)}"
    print(f"{platform.machine()}{name}, torch {torch.__version__}, numpy {np.__version__}")
    titles = list(works_of("uniform", 1, (1,), options.device))
    print(f"{'':27s}" + "".join(f"{title:>13s}" for title in titles))
    for count, shape in BATCHES:
        for kind in ("uniform", "normal"):
            works = works_of(kind, count, shape, options.device)
            drawn = [work().cpu() for _, work in list(works.items())[1:]]
            assert all(torch.equal(drawn[0], other) for other in drawn), "draws differ"
            rounds = [[milliseconds(w) for w in works.values()] for _ in range(WARM)]
            rounds = [[milliseconds(w) for w in works.values()] for _ in range(options.rounds)]
            medians = map(statistics.median, zip(*rounds, strict=True))
            label = f"{count:5,d} x {'x'.join(map(str, shape))}"
            print(f"{label:18s}{kind:9s}" + "".join(f"{median:13.3f}" for median in medians))


if __name__ == "__main__":
    main()
