"""Gradient check of the lint: false alarms on sound models, power on models that mask gradients.

    python benchmarks/lint.py --models FOLDER [--seeds 200] [--only NET ...]

FOLDER holds the nets and `architectures.py`; data sets are found by `FFTUNE_DATA`. Each seed has
its own images, points, directions and masking trick. One thread; seconds are those of the process.
"""

import argparse
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fftune.config import DataSpec, ThreatModel
from fftune.data import Dataset
from fftune.data.subset import sample
from fftune.keyed_noise import Noise
from fftune.lint.derivatives import Slopes, gradients, points, random_signs, slopes
from fftune.lint.questions import FEW
from fftune.risk import Rate

NETS = {
    "fastadv_mnist_pgd": ("mnist", 0.3, 1),
    "wk_mnist_0.1": ("mnist", 0.1, 1),
    "cifar_resnet2b": ("cifar10", 2 / 255, 1),
    "fastat_small": ("cifar10", 8 / 255, 8),
    "natural_small": ("cifar10", 8 / 255, 8),
    "resnet20": ("cifar10", 8 / 255, 20),
}
"""Data set, eps, and a divisor of the number of seeds, as large models take long."""
MASKED = ("wk_mnist_0.1", "cifar_resnet2b")
Forward = Callable[[nn.Module, Tensor], Tensor]


class Tricked(nn.Module):
    """Model that is called through a function that masks its gradients."""

    def __init__(self, net: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.net, self.way = net, forward

    def forward(self, x: Tensor) -> Tensor:
        return self.way(self.net, x)


class Backward(torch.autograd.Function):
    """Identity with a gradient that a function changes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.change = change
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.change(grads[0]), None


def tricks(rng: torch.Generator) -> dict[str, Forward]:
    """Build one masking trick of each kind, with random settings."""

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=rng))

    side, levels = int(uniform(2, 9)), int(uniform(8, 65))
    at, width = int(uniform(0, 20)), int(uniform(8, 21))
    weak, most, fast = uniform(0.0, 0.2), uniform(0.8, 1.0), uniform(8e3, 3e4)

    def masked(net: nn.Module, x: Tensor) -> Tensor:
        seen = torch.zeros_like(x)
        seen[..., at : at + side, at : at + side] = 1
        return net(seen * x + (1 - seen) * x.detach())

    def scaled(grad: Tensor) -> Tensor:
        grad = grad.clone()
        grad[..., :width] *= weak
        return grad

    return {
        "masked region": masked,
        "random gradient": lambda n, x: n(
            Backward.apply(x, lambda g: torch.randn_like(g) * g.abs().mean())
        ),
        "scaled per region": lambda n, x: n(Backward.apply(x, scaled)),
        "detached half": lambda n, x: most * n(x) + n(x.detach().flip(-1)),
        "rounding, straight through": lambda n, x: n(
            x + ((x * levels).round() / levels - x).detach()
        ),
        "sign flipped": lambda n, x: n((1 + most) * x.detach() - most * x),
        "shattered": lambda n, x: n(x + 1e-3 * torch.sin(fast * x)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--only", nargs="*", default=list(NETS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, one thread")
    data = {name: sample(DataSpec(name=name), "test", 2000) for name in ("mnist", "cifar10")}
    for name in given.only:
        images, eps, divisor = NETS[name]
        net = read(given.models, name)
        count = max(1, given.seeds // divisor)
        print_row(name, net, data[images], eps, range(count), None)
        for trick in tricks(torch.Generator()) if name in MASKED else ():
            print_row(name, net, data[images], eps, range(count), trick)


def print_row(
    name: str, net: nn.Module, data: Dataset, eps: float, seeds: range, trick: str | None
) -> None:
    """Print how often the check doubts the model, and how far its gradients were off."""
    began, found = time.process_time(), []
    for seed in seeds:
        rng = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        checked_net = net if trick is None else Tricked(net, tricks(rng)[trick])
        found.append(checked(checked_net, data, eps, seed, rng))
    doubted = Rate(sum(one.doubt() is not None for one in found), len(found))
    off = [
        torch.cat([one.away(one.near, one.rounding) for one in found]),
        torch.cat([one.away(one.far, one.rounding_far) for one in found]),
    ]
    worst = [float(values[values.isfinite()].max()) for values in off]
    median = [float(values.nanmedian()) for values in off]
    seconds = (time.process_time() - began) / len(found)
    print(
        f"| {name} | {trick or '-'} | {doubted} | {median[0]:.2g} / {worst[0]:.2g} | "
        f"{median[1]:.2g} / {worst[1]:.2g} | {seconds:.2f} |",
        flush=True,
    )


def checked(net: nn.Module, data: Dataset, eps: float, seed: int, rng: torch.Generator) -> Slopes:
    """Measure the slopes that the lint checks, on a few images of this seed."""
    rows = torch.randperm(len(data), generator=rng)[:FEW]
    ids, x, y = next(data.batches(FEW, order=rows))
    noise = Noise(seed).fold("lint")
    at = points(x, ThreatModel(eps=eps), noise, ids)
    grads = gradients(net, at, torch.cat([y, y]))
    assert grads is not None
    return slopes(net, grads, random_signs(x, noise, ids))


def read(models: Path, name: str) -> nn.Module:
    spec = importlib.util.spec_from_file_location("architectures", models / "architectures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    net: nn.Module = module.load(name)
    return net.requires_grad_(False)


if __name__ == "__main__":
    main()
