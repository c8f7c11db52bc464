"""Loaders compared: images per second of our engines, of bare FFCV and of torchvision.

    python benchmarks/data.py [--sizes 32 64 224] [--repeats 5] [--json FILE]
    python benchmarks/data.py --feed [--device cuda] [--rates 500 2000]    # see feed.py

All run on one pinned core with one thread of torch, in interleaved rounds so that a slow minute
hits all of them; the median of the rounds is reported. Each delivers training batches: float32 in
[0, 1], cropped out of a padded image and flipped at random at 32 and 64 pixels,
RandomResizedCrop and flip at 224. Only "FFCV decode" stops at uint8 pixels as stored. Our memory
and torch engines have no RandomResizedCrop: at 224 they cut the central square, which is less
work, and are labelled so.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import feed
import numpy as np
import torch
from arguments import device, whole
from torch import Tensor

from fftune.config import Augmentation, DataSpec, Engine, LoaderConfig, WriteConfig
from fftune.data import open_loader
from fftune.data.beton.writer import write_beton
from fftune.data.catalog import data_root, open_parts

SHARED = Path(os.environ.get("FFTUNE_SHARED") or Path(__file__).parents[1] / "../shared")
DATASETS = data_root()
BATCH = 128
MOVES = Augmentation(crop_padding=4, flip=True)
Epoch = Callable[[int], Iterator[Tensor]]


@dataclass(frozen=True)
class Case:
    """Images of one size, in a folder and in a .beton file."""

    size: int
    folder: Path
    """Folder with a folder for each class."""
    beton: Path
    """Folder of `train.beton`."""
    repeats: int = 1
    """Passes through the set in one epoch, for small sets."""

    @property
    def rows(self) -> np.ndarray:
        return np.tile(np.arange(sum(1 for _ in self.folder.rglob("*.[pJ]*"))), self.repeats)

    @property
    def few(self) -> np.ndarray:
        """Rows of a shorter epoch, for loaders whose processes decode images one by one."""
        return self.rows[::5] if self.repeats == 1 else self.rows


@dataclass(frozen=True)
class Figure:
    """Speed of one loader: medians over the rounds."""

    size: int
    contestant: str
    images_per_second: float
    lowest: float
    highest: float
    cpu_microseconds: float


def ours(case: Case, engine: Engine, *, crop: bool, workers: int = 1) -> Epoch:
    move = Augmentation(resized_crop=224, flip=True) if crop else MOVES
    config = LoaderConfig(
        batch_size=BATCH, engine=engine, shuffle=True, augmentation=move, workers=workers
    )
    spec = DataSpec(name=f"folder:{case.beton}", train_size=None, validation_size=0)
    ids = torch.from_numpy(case.few if engine == "torch" else case.rows)
    loader = open_loader(spec, "train", config, ids=ids)
    return lambda epoch: (x for _, x, _ in loader.epoch(epoch))


def central(case: Case, engine: Engine) -> Epoch:
    """Deliver the central square of each photograph, flipped; `memory` cuts it beforehand."""
    config = LoaderConfig(
        batch_size=BATCH,
        engine=engine,
        shuffle=True,
        augmentation=Augmentation(flip=True),
        workers=1,
    )
    name = f"folder:{case.beton.parent / str(case.size)}"
    spec = DataSpec(name=name, train_size=None, validation_size=0, image_size=case.size)
    loader = open_loader(spec, "train", config, ids=torch.from_numpy(case.few))
    return lambda epoch: (x for _, x, _ in loader.epoch(epoch))


def ffcv(case: Case, *, crop: bool, work: bool) -> Epoch:
    """Run FFCV's own loader; with `work` it does the same as ours, in its own way."""
    from ffcv.fields.decoders import RandomResizedCropRGBImageDecoder, SimpleRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import RandomHorizontalFlip, RandomTranslate, ToTensor, ToTorchImage

    decode = RandomResizedCropRGBImageDecoder((224, 224)) if crop else SimpleRGBImageDecoder()
    moves: list[Any] = [RandomHorizontalFlip()] if work else []
    if work and not crop:
        moves.append(RandomTranslate(4))
    pipelines = {"image": [decode, *moves, ToTensor(), ToTorchImage()], "id": None}
    loader = Loader(
        str(case.beton / "train.beton"),
        BATCH,
        1,
        order=OrderOption.RANDOM,
        indices=case.rows,
        seed=0,
        drop_last=False,
        pipelines=pipelines,
    )
    if not work:
        return lambda _: (images for images, _ in loader)
    return lambda _: (images.to(torch.float32).div_(255) for images, _ in loader)


def torchvision(case: Case, *, crop: bool, workers: int) -> Epoch:
    from torchvision import datasets, transforms

    cut: Any = transforms.RandomResizedCrop(224) if crop else transforms.RandomCrop(case.size, 4)
    steps = [cut, transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    images = datasets.ImageFolder(str(case.folder), transforms.Compose(steps))
    repeated = torch.utils.data.Subset(images, case.few.tolist())
    loader = torch.utils.data.DataLoader(repeated, BATCH, shuffle=True, num_workers=workers)
    return lambda _: (x for x, _ in loader)


def contestants(case: Case) -> dict[str, Epoch]:
    crop = case.size == 224
    found = {
        "ours, ffcv": ours(case, "ffcv", crop=crop),
        "FFCV, same work": ffcv(case, crop=crop, work=True),
        "FFCV decode": ffcv(case, crop=crop, work=False),
        "torchvision, 1 worker": torchvision(case, crop=crop, workers=1),
        "torchvision, 2 workers": torchvision(case, crop=crop, workers=2),
    }
    if crop:
        found["ours, memory, central"] = central(case, "memory")
        found["ours, torch, central"] = central(case, "torch")
    else:
        found["ours, memory"] = ours(case, "memory", crop=False)
        found["ours, torch, 1 worker"] = ours(case, "torch", crop=False)
    return found


def cpu_seconds() -> float:
    """CPU seconds of this process, its threads and its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def measured(case: Case, rounds: int) -> list[Figure]:
    found = contestants(case)
    for epoch in found.values():  # compiles, and fills the page cache
        for _ in epoch(0):
            pass
    torch.set_num_threads(1)  # FFCV's loader sets it
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in found}
    for round_ in range(1, rounds + 1):
        for name, epoch in found.items():
            cpu, began, seen = cpu_seconds(), time.perf_counter(), 0
            for x in epoch(round_):
                seen += len(x)
            wall = time.perf_counter() - began
            taken[name].append((seen / wall, 1e6 * (cpu_seconds() - cpu) / seen))
        print(f"{case.size} px, round {round_} of {rounds}", file=sys.stderr, flush=True)
    return [_figure(case, name, times) for name, times in taken.items()]


def _figure(case: Case, name: str, times: list[tuple[float, float]]) -> Figure:
    rates = [rate for rate, _ in times]
    return Figure(
        size=case.size,
        contestant=name,
        images_per_second=statistics.median(rates),
        lowest=min(rates),
        highest=max(rates),
        cpu_microseconds=statistics.median(cpu for _, cpu in times),
    )


def cases(scratch: Path, sizes: list[int]) -> list[Case]:
    """Prepare CIFAR-10, Tiny-ImageNet and ImageNet images, the last stored at 256 pixels."""
    sets = [
        (32, "cifar10-png", "cifar10/test", WriteConfig(), 1),
        (64, "tiny-imagenet-20", "tiny-imagenet-200/train", WriteConfig(), 1),
        (224, "imagenet-sample-50", "imagenet-sample/train", WriteConfig(shorter_side=256), 8),
    ]
    made = []
    for size, archive, place, config, repeats in (row for row in sets if row[0] in sizes):
        folder = DATASETS / place
        if not folder.is_dir():
            with tarfile.open(SHARED / f"data/{archive}.tar.xz") as tar:
                tar.extractall(DATASETS, filter="data")
        linked = scratch / f"{size}/train"
        linked.parent.mkdir()
        linked.symlink_to(folder)
        part = open_parts(f"folder:{linked.parent}", betons=False)["train"]
        beton = scratch / f"beton-{size}"
        write_beton(part, beton / "train.beton", config, origin=place, splits={})
        made.append(Case(size, folder, beton, repeats))
    return made


def report(size: int, figures: list[Figure]) -> Iterator[str]:
    yield "  px  contestant                   img/s    lowest   highest  CPU us"
    rate = {}
    for f in (figure for figure in figures if figure.size == size):
        rate[f.contestant] = f.images_per_second
        rates = f"{f.images_per_second:9,.0f} {f.lowest:9,.0f} {f.highest:9,.0f}"
        yield f"{f.size:4d}  {f.contestant:24s} {rates} {f.cpu_microseconds:7.0f}"
    mine = rate["ours, ffcv"]
    yield (
        f"{size} px: ours is {mine / rate['FFCV, same work']:.2f} of FFCV doing the same work, "
        f"{mine / rate['torchvision, 1 worker']:.1f} times torchvision with 1 worker, "
        f"{mine / rate['torchvision, 2 workers']:.1f} with 2"
    )


def feed_device(arguments: argparse.Namespace) -> None:
    """Print what `feed.report` measures."""
    with TemporaryDirectory() as scratch:
        found = {case.size: case for case in cases(Path(scratch), [32, 64, 224])}
        feed.report(
            Path(scratch),
            found[224].folder,
            {"CIFAR-10": found[32].beton, "Tiny-ImageNet-20": found[64].beton},
            device=arguments.device,
            rates=arguments.rates,
            rounds=arguments.repeats,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeats", type=whole, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 224])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--feed", action="store_true", help="how fast a device is fed, and waits")
    parser.add_argument("--device", type=device, default="cpu", help="with --feed")
    parser.add_argument("--rates", type=float, nargs="*", default=[500, 2000], help="with --feed")
    arguments = parser.parse_args()
    if arguments.feed:
        feed_device(arguments)
        return
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "ffcv"))
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, core {core}, {packages}")
    with TemporaryDirectory() as scratch:
        figures = []
        for case in cases(Path(scratch), arguments.sizes):
            figures += measured(case, arguments.repeats)
            print("\n".join(report(figures[-1].size, figures)), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=2))


if __name__ == "__main__":
    sys.exit(main())
