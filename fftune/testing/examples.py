"""Small nets and images that conformance tests run on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def small_net(shape: tuple[int, int, int], classes: int, seed: int) -> nn.Module:
    """Net with BatchNorm for images of `shape` (C, H, W), in eval mode, mostly wrong."""
    channels, height, width = shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(4 * height * width, classes),
        )
    return net.eval()


def random_images(count: int, shape: tuple[int, int, int], seed: int) -> Tensor:
    """(count, *shape) float32 uniform in [0, 1], with some pixels at 0 and at 1."""
    x = torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))
    x.view(-1)[: 2 * count] = torch.arange(2 * count) % 2.0
    return x


def random_labels(count: int, classes: int, seed: int) -> Tensor:
    """(count,) int64 uniform over the classes."""
    return torch.randint(classes, (count,), generator=torch.Generator().manual_seed(seed + 1))


@contextmanager
def left_alone(model: nn.Module, *tensors: Tensor) -> Iterator[None]:
    """Check that the block of code changes neither the tensors nor the net.

    Raises:
        AssertionError: it changed one, or left a gradient behind.
    """
    before = [tensor.clone() for tensor in tensors]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    training = model.training
    yield
    for tensor, old in zip(tensors, before, strict=True):
        assert torch.equal(tensor, old), "an argument was changed"
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), f"{name} of the net was changed"
    assert model.training == training, "the net's mode was changed"
    for parameter in model.parameters():
        assert parameter.grad is None, "the net's parameters were given gradients"
        assert parameter.requires_grad, "the net's parameters no longer require gradients"


def check_output(name: str, x: Tensor, found: Tensor) -> None:
    """Check that perturbed images have the shape and type of their originals, and no graph.

    Raises:
        AssertionError: they do not.
    """
    assert isinstance(found, Tensor), f"{name} returned {type(found).__name__}, not a tensor"
    assert found.shape == x.shape, f"{name} returned {tuple(found.shape)}, not {tuple(x.shape)}"
    assert found.dtype == x.dtype, f"{name} returned {found.dtype}, not {x.dtype}"
    assert not found.requires_grad, f"{name} returned a tensor that is not detached"
    assert bool(found.isfinite().all()), f"{name} returned pixels that are not finite"


def check_order(name: str, count: int, run: Callable[[Tensor], Tensor]) -> None:
    """Check that an example's result does not depend on what else is in the batch.

    Args:
        run: the results for these positions, in float64, where rounding decides nothing.

    Raises:
        AssertionError: order or company changed a result.
    """
    every = torch.arange(count)
    together = run(every)
    assert torch.equal(run(every), together), f"{name} is not reproducible with equal noise and ids"
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    moved = (run(order) - together[order]).abs().max()
    assert moved < 1e-6, f"{name} depends on the order of the batch: key its draws by ids"
    alone = torch.cat([run(every[i : i + 1]) for i in range(count)])
    moved = (alone - together).abs().max()
    assert moved < 1e-6, f"{name} depends on what else is in the batch: key its draws by ids"
