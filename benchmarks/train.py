"""Training speed and its breakdown, beside a plain implementation of the authors' loop.

    python benchmarks/train.py [--model resnet18] [--width W] [--batch 64] [--steps 3] [--threads 1]
                               [--objectives thrm ...] [--precisions fp32 bf16]

Every objective on CIFAR-10's shapes (random images, which do not change the speed), ours and the
plain loop in turn in one process, the median of `--rounds`. The plain loop does what the papers'
code does: fp32, contiguous tensors, PGD written out, no fused optimizer.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fftune.config import DataSpec, TrainConfig, TrainPrecision
from fftune.data.dataset import Batch
from fftune.keyed_noise import Noise
from fftune.models import eval_mode, make_model, torch_threads
from fftune.objectives import find_objective, objective_of
from fftune.recipes import Basis, training
from fftune.registry import OBJECTIVES
from fftune.training.distributed import ProcessGroup
from fftune.training.optimizer import make_optimizer
from fftune.training.phases import open_stream
from fftune.training.step import Stepper, folded_of, loss_of

T = TypeVar("T")
TIMED = tuple(name for name in OBJECTIVES if not find_objective(name).needs_model)
"""Objectives that any net can be trained with."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--width", type=int)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--objectives", nargs="*", default=TIMED)
    every = get_args(TrainPrecision)
    parser.add_argument("--precisions", nargs="*", default=every, choices=every)
    given = parser.parse_args()
    print(
        f"torch {torch.__version__}, {hardware(given.device)}, {given.threads} threads; "
        f"{given.model}, width {given.width or 'published'}, batches of {given.batch}, "
        f"{given.steps} steps a round, median of {given.rounds} rounds"
    )
    print(
        f"{'objective':10s}{'loop':12s}{'examples/s':>11s}{'CPU-s':>8s}{'craft':>7s}"
        f"{'fwd-bwd':>9s}{'data':>6s}{'loss':>9s}{'x plain':>9s}"
    )
    with torch_threads(given.threads):
        for objective in given.objectives:
            compare(objective, given)


def compare(objective: str, given: argparse.Namespace) -> None:
    """Print the table's rows of one objective."""
    config = replace(
        training(objective, Basis(scale="full", model=given.model)),
        data=DataSpec(
            name=f"synthetic:shape=3x32x32,classes=10,train={given.batch * given.steps},test=10",
            train_size=None,
            validation_size=0,
        ),
        width=given.width,
        threads=given.threads,
    )
    config = replace(
        config, optimizer=replace(config.optimizer, batch_size=given.batch), precision="fp32"
    )
    loops: dict[str, Callable[[], Timed]] = {"plain fp32": partial(plain, config, given.device)}
    for precision in given.precisions:
        loops[f"ours {precision}"] = partial(
            ours, replace(config, precision=precision), given.device
        )
    rounds = [{name: loop() for name, loop in loops.items()} for _ in range(given.rounds)]
    baseline = statistics.median(r["plain fp32"].rate for r in rounds)
    for name in loops:
        runs = sorted((r[name] for r in rounds), key=lambda run: run.rate)
        run = runs[len(runs) // 2]
        print(
            f"{objective:10s}{name:12s}{run.rate:11.1f}{run.cpu:8.1f}{run.share('craft'):7.0%}"
            f"{run.share('train'):9.0%}{run.share('data'):6.0%}{run.loss:9.4f}"
            f"{run.rate / baseline:9.2f}",
            flush=True,
        )


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Times of one round of a loop."""

    examples: int
    seconds: float
    cpu: float
    parts: dict[str, float]
    loss: float

    @property
    def rate(self) -> float:
        return self.examples / self.seconds

    def share(self, part: str) -> float:
        return self.parts.get(part, float("nan")) / self.seconds


def ours(config: TrainConfig, device: str) -> Timed:
    """Run fftune's own stream and step, with a clock around their parts."""
    stream = open_stream(config, ProcessGroup(), device=device)
    model = make_model(config.model, stream.inputs, width=config.width).to(device)
    model = model.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, config)
    clock = Clock(device)

    class Clocked(Stepper):
        def _inputs(self, ids: Tensor, x: Tensor, y: Tensor, noise: Noise) -> Tensor:
            search = super()._inputs
            return clock("craft", lambda: search(ids, x, y, noise))

    stepper = Clocked(
        config=config,
        model=model,
        folded=folded_of(model, config, stream.inputs, device),
        wrapped=model,
        loss=loss_of(config),
        crafting=objective_of(config).crafting,
        processes=1,
        device=device,
    )

    def step(batch: Batch) -> float:
        size = len(batch[2])
        model.train()
        optimizer.zero_grad()
        loss, _ = stepper(batch, real=size, examples=size, noise=Noise(0))
        optimizer.step()
        return float(loss) / size

    return run(stream.batches, step, clock)


def plain(config: TrainConfig, device: str) -> Timed:
    """Run a plain implementation of the authors' loop."""
    stream = open_stream(config, ProcessGroup(), device=device)
    model = make_model(config.model, stream.inputs, width=config.width).to(device)
    settings, attack = config.optimizer, config.attack
    optimizer = torch.optim.SGD(
        model.parameters(), settings.lr, settings.momentum, weight_decay=settings.weight_decay
    )
    clock, eps = Clock(device), attack.threat.eps

    def crafted(x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            clean = model(x).softmax(1) if config.objective == "trades" else None
        sign = -1 if config.objective == "thrm" else 1
        x_pert = (x + eps * (2 * torch.rand_like(x) - 1)).clamp(0, 1)
        for _ in range(attack.steps):
            x_pert = x_pert.detach().requires_grad_()
            logits = model(x_pert)
            if clean is None:
                loss = F.cross_entropy(logits, y)
            else:
                loss = F.kl_div(logits.log_softmax(1), clean, reduction="batchmean")
            (grad,) = torch.autograd.grad(loss, [x_pert])
            x_pert = x_pert.detach() + sign * attack.step_length * grad.sign()
            x_pert = (x + (x_pert - x).clamp(-eps, eps)).clamp(0, 1)
        return x_pert

    def craft(x: Tensor, y: Tensor) -> Tensor:
        with eval_mode(model):
            return crafted(x, y)

    def step(batch: Batch) -> float:
        _, x, y = batch
        x_pert = x if config.objective == "standard" else clock("craft", lambda: craft(x, y))
        model.train()
        optimizer.zero_grad()
        loss = objective(model, x, x_pert, y)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    def objective(model: nn.Module, x: Tensor, x_pert: Tensor, y: Tensor) -> Tensor:
        if config.objective not in ("trades", "thrm"):
            return F.cross_entropy(model(x_pert), y)
        clean, perturbed = model(torch.cat([x, x_pert])).chunk(2)
        kl = F.kl_div(perturbed.log_softmax(1), clean.softmax(1), reduction="batchmean")
        return F.cross_entropy(clean, y) + config.lam * kl

    return run(stream.batches, step, clock)


class Clock:
    """Wall-clock seconds of named parts."""

    def __init__(self, device: str) -> None:
        self.device, self.parts = device, dict[str, float]()

    def __call__(self, name: str, job: Callable[[], T]) -> T:
        began = self.now()
        result = job()
        self.parts[name] = self.parts.get(name, 0.0) + self.now() - began
        return result

    def now(self) -> float:
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def run(
    batches: Callable[[int], Iterator[Batch]], step: Callable[[Batch], float], clock: Clock
) -> Timed:
    """Time one epoch, after a warm-up step."""
    step(next(batches(1)))
    clock.parts.clear()
    began, cpu, losses, examples = clock.now(), cpu_seconds(), [], 0
    epoch = batches(2)
    while (batch := clock("data", lambda: next(epoch, None))) is not None:
        losses.append(clock("step", lambda batch=batch: step(batch)))
        examples += len(batch[2])
    parts = dict(clock.parts)
    parts["train"] = parts.pop("step") - parts.setdefault("craft", 0.0)
    return Timed(
        examples=examples,
        seconds=clock.now() - began,
        cpu=cpu_seconds() - cpu,
        parts=parts,
        loss=statistics.fmean(losses),
    )


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
