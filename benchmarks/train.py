"""Training speed beside two plain loops: as torch's defaults have it, and with bf16 autocast.

    python benchmarks/train.py [--device cuda] [--model resnet18 wrn28_10] [--width W] [--batch 128]
                               [--steps 20] [--rounds 3] [--objectives thrm ...] [--no-checks]

Every objective on CIFAR-10's shapes (random images, which do not change the speed), all loops in
turn in one process from equal weights; rates are the medians of rounds. The first steps of ours,
which compile and record, are timed apart. The checks say that the same is computed: see `checks`.
"""

import argparse
import gc
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import get_args

import torch
import torch.nn.functional as F
from arguments import device, whole
from plain_training import PlainLoop
from torch import Tensor

from fftune.capture import first_use
from fftune.config import Compile, DataSpec, TrainConfig, TrainPrecision
from fftune.data.dataset import Batch
from fftune.errors import ConfigError
from fftune.keyed_noise import Noise
from fftune.models import eval_mode, make_model, torch_threads
from fftune.objectives import find_objective
from fftune.recipes import Basis, training
from fftune.registry import MODELS, OBJECTIVES
from fftune.training.distributed import ProcessGroup
from fftune.training.optimizer import Updates, make_optimizer
from fftune.training.phases import EpochStream, open_stream
from fftune.training.step import layout_of, make_stepper

TIMED = tuple(name for name in OBJECTIVES if not find_objective(name).needs_model)
"""Objectives that any net can be trained with."""
EPOCHS = 110 * 391
"""Steps of the published run, which decide whether `--compile auto` compiles."""
WARM = 6
"""First steps of a loop, which compile and record: they are timed apart."""
LOW = 1e-3
"""A rate at which rounding, which turns signs of small gradients, does not grow step by step."""
LATE = slice(79, 100)
"""Steps whose mean loss is compared, counted from 0."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", type=device, default="cpu")
    parser.add_argument("--model", nargs="*")
    parser.add_argument("--width", type=whole)
    parser.add_argument("--batch", type=whole)
    parser.add_argument("--steps", type=whole)
    parser.add_argument("--rounds", type=whole, default=3)
    parser.add_argument("--threads", type=whole, default=1)
    parser.add_argument("--objectives", nargs="*", default=["thrm"], choices=TIMED)
    every = get_args(TrainPrecision)
    parser.add_argument("--precisions", nargs="*", default=every, choices=every)
    parser.add_argument("--compile", default="auto", choices=get_args(Compile))
    parser.add_argument("--no-checks", action="store_true")
    given = parser.parse_args()
    cuda = given.device == "cuda"
    given.model = given.model or (["resnet18", "wrn28_10"] if cuda else ["resnet18"])
    try:
        for name in given.model:
            MODELS.check("--model", name)
    except ConfigError as error:
        parser.error(str(error))
    given.batch = given.batch or (128 if cuda else 64)
    given.steps = given.steps or (20 if cuda else 3)
    print(
        f"torch {torch.__version__}, {hardware(given.device)}, {given.threads} threads; "
        f"width {given.width or 'published'}, batches of {given.batch}, "
        f"{given.steps} steps a round, median of {given.rounds} rounds"
    )
    with torch_threads(given.threads):
        for at, model in enumerate(given.model):
            for objective in given.objectives:
                compare(config_of(objective, model, given), given)
            if not at and not given.no_checks:
                checks(config_of("thrm", model, given), given)


def config_of(objective: str, model: str, given: argparse.Namespace) -> TrainConfig:
    """The published recipe on random images of CIFAR-10's shape."""
    config = training(objective, Basis(scale="full", model=model))
    name = f"synthetic:shape=3x32x32,classes=10,train={given.batch * given.steps},test=10"
    return replace(
        config,
        data=DataSpec(name=name, train_size=None, validation_size=0),
        optimizer=replace(config.optimizer, batch_size=given.batch),
        width=given.width,
        threads=given.threads,
        compile=given.compile,
        precision="fp32",
    )


class Ours:
    """fftune's own steps, as a training takes them."""

    def __init__(self, config: TrainConfig, device: str) -> None:
        self.config = config
        self.stream = open_stream(config, ProcessGroup(), device=device)
        self.model = built(config, self.stream, device)
        layout = layout_of(self.model, self.stream.inputs, device)
        self.optimizer = make_optimizer(self.model, config)
        self.stepper = make_stepper(
            self.model,
            config,
            self.stream.inputs,
            ProcessGroup(),
            device=device,
            layout=layout,
            steps=EPOCHS,
        )
        self.updates = Updates(self.model, self.optimizer, recorded=self.stepper.recorded)

    def step(self, ids: Tensor, x: Tensor, y: Tensor, noise: Noise) -> Tensor:
        """Take a step; the mean of its losses, on the device."""
        self.model.train()
        self.updates.clear()
        size = len(y)
        loss, _ = self.stepper((ids, x, y), real=size, examples=size, noise=noise)
        self.updates.step()
        return loss / size

    def crafted(self, ids: Tensor, x: Tensor, y: Tensor, noise: Noise) -> Tensor:
        """(B, C, H, W), the perturbed images of a step."""
        return self.stepper._part(ids, x, y, noise).inputs[-len(y) :]


def built(config: TrainConfig, stream: EpochStream, device: str) -> torch.nn.Module:
    """The net, with equal first weights in every loop of a seed."""
    model = make_model(config.model, stream.inputs, seed=config.seed, width=config.width)
    return model.to(device)


def plain(config: TrainConfig, device: str, **settings: bool) -> PlainLoop:
    stream = open_stream(config, ProcessGroup(), device=device)
    return PlainLoop(config=config, model=built(config, stream, device), **settings)


@dataclass(frozen=True, kw_only=True)
class Timed:
    """One round of a loop."""

    examples: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        return self.examples / self.seconds


def compare(config: TrainConfig, given: argparse.Namespace) -> None:
    """Print the rows of one objective on one net."""
    device = given.device
    makers: dict[str, Callable[[], Ours | PlainLoop]] = {
        "plain, torch's defaults": lambda: plain(config, device),
        "plain, channels last, bf16": lambda: plain(config, device, fast=True),
    }
    for precision in given.precisions:
        changed = replace(config, precision=precision)
        makers[f"ours {precision}"] = lambda changed=changed: Ours(changed, device)
    stream = open_stream(config, ProcessGroup(), device=device)
    first, rounds, craft, memory = {}, {}, {}, {}
    loops = {}
    for name, make in makers.items():
        began, held = now(device), reset_memory(device)
        loops[name] = make()
        feed = forever(stream)
        for batch in islice(feed, WARM if device == "cuda" else 1):
            loops[name].step(*batch, Noise(0))
        first[name] = now(device) - began
        memory[name] = peak_memory(device) - held
    for name, loop in list(loops.items()) * given.rounds:
        rounds.setdefault(name, []).append(timed(loop, stream, device))
    for name, loop in loops.items():
        craft[name] = crafting_seconds(loop, stream, device)
    report(config, given, rounds, craft, first, memory)


def report(
    config: TrainConfig,
    given: argparse.Namespace,
    rounds: dict[str, list[Timed]],
    craft: dict[str, float],
    first: dict[str, float],
    memory: dict[str, float],
) -> None:
    """Print rates, their ratios to both plain loops, and where the time of a step goes."""
    rates = {name: statistics.median(r.rate for r in runs) for name, runs in rounds.items()}
    default, fast = list(rates)[:2]
    print(f"\n{config.objective}, {config.model} on {hardware(given.device)}")
    print(
        f"{'loop':28s}{'examples/s':>11s}{'ms/step':>9s}{'craft':>8s}{'CPU-s':>7s}{'x plain':>9s}"
        f"{'x bf16':>8s}{'spread':>8s}{'first, s':>10s}{'GiB':>6s}"
    )
    for name, rate in rates.items():
        runs = [run.rate for run in rounds[name]]
        print(
            f"{name:28s}{rate:11.1f}{1000 * given.batch / rate:9.1f}{1000 * craft[name]:8.1f}"
            f"{statistics.median(r.cpu for r in rounds[name]):7.1f}{rate / rates[default]:9.2f}"
            f"{rate / rates[fast]:8.2f}{(max(runs) - min(runs)) / rate:8.1%}{first[name]:10.1f}"
            f"{memory[name]:6.1f}",
            flush=True,
        )
    spent = first_use()
    print(
        f"so far {spent.recorded} recordings in {spent.recording:.1f} s, {spent.warmed} calls "
        f"before them in {spent.warming:.1f} s (compiling included), {spent.replayed} replays"
    )


def checks(config: TrainConfig, given: argparse.Namespace) -> None:
    """Say that the same is computed.

    The first losses in fp32 from equal weights and starts, without TF32, at two rates; the mean
    loss of later steps in bf16, beside the plain loop's with two seeds; the loss of a batch that
    was crafted in bf16 and in fp32 on one net, judged by that net in fp32.
    """
    device, late = given.device, LATE if given.device == "cuda" else slice(7, 10)
    stream = open_stream(config, ProcessGroup(), device=device)
    print(f"\nchecks on {config.model}, thrm:")
    for rate in (config.optimizer.lr, LOW):
        first_losses(replace(config, optimizer=replace(config.optimizer, lr=rate)), stream, device)
    half = replace(config, precision="bf16")
    means = [
        statistics.fmean(losses(loop, stream, late.stop)[late])
        for loop in (
            Ours(half, device),
            plain(config, device),
            plain(replace(config, seed=1), device),
        )
    ]
    print(
        f"mean loss of steps {late.start + 1} to {late.stop}: ours bf16 {means[0]:.4f}; plain "
        f"{means[1]:.4f} and {means[2]:.4f} with two seeds",
        flush=True,
    )
    trained = Ours(config, device)
    losses(trained, stream, 10)
    ids, x, y = next(stream.batches(1))
    gains = {}
    for precision in get_args(TrainPrecision):
        judged = Ours(replace(config, craft_precision=precision), device)
        judged.model.load_state_dict(trained.model.state_dict())
        x_pert = judged.crafted(ids, x, y, Noise(0))
        with eval_mode(judged.model), torch.no_grad():
            gains[precision] = tuple(
                float(F.cross_entropy(judged.model(images), y)) for images in (x, x_pert)
            )
    (clean, full), (_, half_) = gains["fp32"], gains["bf16"]
    print(
        f"a batch's mean loss in fp32: clean {clean:.4f}, crafted in fp32 {full:.4f}, in bf16 "
        f"{half_:.4f}: {(clean - half_) / (clean - full):.1%} of the descent"
    )


def first_losses(config: TrainConfig, stream: EpochStream, device: str) -> None:
    tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    ours, theirs = (
        losses(loop, stream, 5)
        for loop in (Ours(config, device), plain(config, device, keyed=True))
    )
    torch.backends.cudnn.allow_tf32 = tf32
    off = max(abs(a - b) / b for a, b in zip(ours, theirs, strict=True))
    print(
        f"first 5 losses, fp32, lr {config.optimizer.lr:g}: ours {shown(ours)}; plain "
        f"{shown(theirs)}; at most {off:.1e} of it off",
        flush=True,
    )


def losses(loop: Ours | PlainLoop, stream: EpochStream, count: int) -> list[float]:
    """The mean losses of the first steps."""
    return [float(loop.step(*batch, Noise(0))) for batch in islice(forever(stream), count)]


def shown(values: list[float]) -> str:
    return " ".join(f"{value:.4f}" for value in values)


def timed(loop: Ours | PlainLoop, stream: EpochStream, device: str) -> Timed:
    """Time one epoch, its data included."""
    began, cpu, examples = now(device), cpu_seconds(), 0
    for batch in stream.batches(1):
        loop.step(*batch, Noise(0))
        examples += len(batch[2])
    return Timed(examples=examples, seconds=now(device) - began, cpu=cpu_seconds() - cpu)


def crafting_seconds(loop: Ours | PlainLoop, stream: EpochStream, device: str) -> float:
    """Seconds of crafting one batch, by itself: median of three."""
    if loop.config.objective == "standard":
        return float("nan")
    batch = next(stream.batches(1))
    spans = []
    for _ in range(3):
        began = now(device)
        loop.crafted(*batch, Noise(0))
        spans.append(now(device) - began)
    return statistics.median(spans)


def forever(stream: EpochStream) -> Iterator[Batch]:
    """The batches of one epoch, over and over."""
    while True:
        yield from stream.batches(1)


def now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def reset_memory(device: str) -> float:
    """Begin to watch for a peak; GiB that are taken already, on CUDA."""
    gc.collect()
    if device != "cuda":
        return 0.0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated() / 2**30


def peak_memory(device: str) -> float:
    """GiB: on CUDA of tensors since `reset_memory`, elsewhere of the process so far."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def hardware(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    units = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return f"{torch.backends.cpu.get_cpu_capability()}, {'with' if units else 'without'} bf16 units"


if __name__ == "__main__":
    main()
