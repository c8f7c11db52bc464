"""How fast a device is fed: FastAT's three phases of photographs, and sets that stay on it.

    python benchmarks/data.py --feed [--device cuda] [--rates 500 2000]

First table: what one thread decodes on one core, and so how many cores a card needs. Photographs
come from files that lie in the page cache; "read" is what a disk would have to deliver.
Second table: batches through the loader, all decoders at work, without a net; then with a stand-in
for one, which is busy for as long as a net of that many images per second would be, and the share
of the time for which it waits. On CUDA the stand-in and the waiting are the device's own.
"""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from fftune.config import Augmentation, DataSpec, LoaderConfig, WriteConfig
from fftune.data import Loader, open_loader
from fftune.data.beton.format import read_beton
from fftune.data.beton.writer import write_beton
from fftune.data.catalog import open_parts
from fftune.data.conversion import PHASES
from fftune.data.engines.ffcv_decoder import FfcvDecoder
from fftune.data.prefetch import cores
from fftune.recipes import Basis, training

MODES: tuple[Literal["raw", "jpg"], ...] = ("raw", "jpg")
SECONDS = 1.0
"""At most, of one way to feed at one rate; at least three batches."""


@dataclass(frozen=True)
class Beton:
    """The training photographs of one phase."""

    name: str
    folder: Path
    crop: int
    batch: int

    @property
    def path(self) -> Path:
        return self.folder / "train.beton"


def betons(scratch: Path, photographs: Path) -> list[Beton]:
    """Write the photographs as each phase wants them."""
    phases = training("fast_at", Basis(scale="full", data="imagenet")).phases
    made = []
    for mode in MODES:
        for number, phase in enumerate(phases, 1):
            sizes = PHASES[number]
            config = WriteConfig(mode=mode, sizes=sizes.sizes, shorter_side=sizes.shorter_side)
            folder = scratch / f"phase{number}-{mode}"
            source = scratch / "photographs" / "train"
            source.parent.mkdir(exist_ok=True)
            if not source.exists():
                source.symlink_to(photographs)
            part = open_parts(f"folder:{source.parent}", betons=False)["train"]
            write_beton(part, folder / "train.beton", config, origin="photographs", splits={})
            assert phase.resized_crop is not None
            name = f"phase {number}, {mode}"
            made.append(Beton(name, folder, phase.resized_crop, phase.batch_size))
    return made


def decoding(found: Sequence[Beton], rounds: int) -> list[str]:
    """Decode on one pinned core, phases in turn; medians of the rounds."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    decoders = {
        beton: FfcvDecoder(beton.path, resized_crop=beton.crop, workers=1) for beton in found
    }
    taken: dict[Beton, list[float]] = {beton: [] for beton in found}
    for round_ in range(rounds + 1):  # the first one warms up
        for beton, decode in decoders.items():
            rows = np.random.default_rng(round_).integers(0, 50, beton.batch).astype(np.uint64)
            began = time.process_time()
            decode(rows)
            if round_:
                taken[beton].append((time.process_time() - began) / beton.batch)
    os.sched_setaffinity(0, before)
    lines = [
        "set             px  CPU us  img/s a core  cores for 1,000 img/s  read, kB  copied, kB"
    ]
    for beton, seconds in taken.items():
        each, read = statistics.median(seconds), read_beton(beton.path).sizes.mean() / 1e3
        speed = f"{1e6 * each:7.0f} {1 / each:13,.0f} {1e3 * each:22.2f}"
        copied = beton.crop**2 * 3 / 1e3
        lines.append(f"{beton.name:12s} {beton.crop:5d} {speed} {read:9,.0f} {copied:11,.0f}")
    return lines


def loader_of(beton: Beton, device: str) -> Loader:
    moves = Augmentation(resized_crop=beton.crop, flip=True)
    config = LoaderConfig(batch_size=beton.batch, shuffle=True, augmentation=moves)
    spec = DataSpec(name=f"folder:{beton.folder}", train_size=None, validation_size=0)
    ids = torch.arange(50).repeat(20 * beton.batch // 50)
    return open_loader(spec, "train", config, ids=ids, device=device)


def held_loader(folder: Path, device: str) -> Loader:
    """A set that stays on a device, cropped and flipped there."""
    config = LoaderConfig(
        batch_size=128, shuffle=True, augmentation=Augmentation(crop_padding=4, flip=True)
    )
    spec = DataSpec(name=f"folder:{folder}", train_size=None, validation_size=0)
    return open_loader(spec, "train", config, device=device)


Busy = Callable[[int], None]
"""Has the device compute for as long as so many images take."""


def stand_in(rate: float, device: str) -> Busy:
    """A net of `rate` images per second; 0: none."""
    if not rate:
        return lambda _images: None
    if device == "cpu":
        return lambda images: time.sleep(images / rate)
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    cycles = 10**8
    for _ in range(2):  # the first one warms up
        began.record()
        torch.cuda._sleep(cycles)
        ended.record()
    torch.cuda.synchronize()
    a_second = cycles / began.elapsed_time(ended) * 1000
    return lambda images: torch.cuda._sleep(int(a_second * images / rate))


def fed(loader: Loader, busy: Busy, device: str) -> tuple[float, float]:
    """Images per second, and the share of the time for which batches were waited for."""
    epochs = (batch for epoch in range(1000) for batch in loader.epoch(epoch))
    for _ in islice(loader.epoch(1000), 3):
        pass
    settle(device)
    waited, began, seen, steps = loader.waited, time.perf_counter(), 0, 0
    for _, x, _ in epochs:
        busy(len(x))
        seen, steps = seen + len(x), steps + 1
        if time.perf_counter() - began > SECONDS and steps >= 3:
            break
    settle(device)
    seconds = time.perf_counter() - began
    return seen / seconds, (loader.waited - waited) / seconds


def settle(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def feeding(loaders: dict[str, Loader], rates: Sequence[float], device: str) -> list[str]:
    columns = "".join(f"  at {rate:6,.0f}: img/s  waits" for rate in rates)
    lines = [f"{'set':22s} alone, img/s{columns}"]
    for name, loader in loaders.items():
        line = f"{name:22s} {fed(loader, stand_in(0, device), device)[0]:12,.0f}"
        for rate in rates:
            reached, share = fed(loader, stand_in(rate, device), device)
            line += f" {reached:17,.0f} {100 * share:5.1f} %"
        lines.append(line)
    return lines


def report(
    scratch: Path,
    photographs: Path,
    small: dict[str, Path],
    *,
    device: str,
    rates: Sequence[float],
    rounds: int,
) -> None:
    """Print both tables.

    Args:
        small: folders of sets that a device holds, by name.
    """
    torch.set_num_threads(1)
    found = betons(scratch, photographs)
    print("\n".join(decoding(found, rounds)), flush=True)
    card = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"\n{card}, {cores()} cores decode", flush=True)
    loaders = {name: held_loader(folder, device) for name, folder in small.items()}
    loaders |= {beton.name: loader_of(beton, device) for beton in found}
    print("\n".join(feeding(loaders, rates, device)), flush=True)
