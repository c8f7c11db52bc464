"""Keyed noise: Threefry on whole arrays against one numpy generator per row.

    python benchmarks/noise.py [--rounds N]

The row loop keys numpy's Philox anew for each example. Both draw in turn; "C alone" is numpy's own
loop over as many numbers without keys. Microseconds per example, medians; one thread.
"""

import argparse
import hashlib
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from fftune.keyed_noise import Noise

SHAPES = {"(1,)": (128, (1,)), "1x8x8": (100, (1, 8, 8)), "3x32x32": (128, (3, 32, 32))}
SHAPES["3x224x224"] = (8, (3, 224, 224))


def row_loop(ids: Tensor, shape: tuple[int, ...], *, normal: bool) -> Tensor:
    out = np.empty((len(ids), int(np.prod(shape))), np.float32)
    for row, i in zip(out, ids.tolist(), strict=True):
        text = repr((0, ("cifar10", "test"), i)).encode()
        key = int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")
        stream = np.random.Generator(np.random.Philox(key=key))
        read = stream.standard_normal if normal else stream.random
        row[:] = read(row.size, np.float32)
    return torch.from_numpy(out).reshape(len(ids), *shape)


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    noise, plain = Noise(0).fold("cifar10", "test"), np.random.Generator(np.random.Philox(0))
    print(f"{'':22s}{'row loop':>10s}{'ours':>10s}{'ratio':>8s}{'C alone':>10s}")
    for name, (count, shape) in SHAPES.items():
        ids = torch.randperm(50_000)[:count]
        for kind, ours in (("uniform", noise.uniform), ("normal", noise.normal)):
            normal = kind == "normal"
            bare = plain.standard_normal if normal else plain.random
            works: tuple[Callable[[], object], ...] = (
                lambda ids=ids, shape=shape, normal=normal: row_loop(ids, shape, normal=normal),
                lambda ours=ours, ids=ids, shape=shape: ours(ids, shape),
                lambda bare=bare, count=count, shape=shape: bare((count, *shape), np.float32),
            )
            taken = [[seconds(work) for work in works] for _ in range(rounds)]
            loop, mine, alone = (
                1e6 * statistics.median(column) / count for column in zip(*taken, strict=True)
            )
            print(f"{name:12s}{kind:10s}{loop:10.2f}{mine:10.2f}{loop / mine:8.1f}{alone:10.2f}")


if __name__ == "__main__":
    main()
