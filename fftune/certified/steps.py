"""Steps of a net that bounds are carried through: affine maps and ReLU."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Shape = tuple[int, ...]
Map = Callable[..., Tensor]
"""Maps (B, *shape) of each input to (B, *shape) of the output."""
Pull = Callable[[Tensor, Sequence[Shape]], tuple[Tensor, ...]]
"""Maps c, (R, *shape) of the output, to c A, (R, *shape) of each input, whose shapes it is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Maps:
    """An affine operation f(x) = A x + b."""

    apply: Map
    """f."""
    spread: Map
    """|A| r, for radii r >= 0 of each input."""
    pull: Pull


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One operation of a net, on the outputs of earlier ones."""

    name: str
    """Name of the layer or operation in the net."""
    kind: Literal["input", "affine", "relu"]
    inputs: tuple[int, ...] = ()
    """Indices of the steps whose outputs it takes."""
    shape: Shape = ()
    """Shape of its output for one image."""
    maps: Maps | None = None
    """Maps of an affine step."""
    offset: Tensor = field(default_factory=lambda: torch.zeros(()))
    """(*shape), b of an affine step."""


def by_autograd(apply: Map) -> Pull:
    """Carry coefficients back through an affine map, whatever it is, by its gradient."""

    def pull(coefficients: Tensor, shapes: Sequence[Shape]) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            zeros = [coefficients.new_zeros(len(coefficients), *shape) for shape in shapes]
            for zero in zeros:
                zero.requires_grad_()
            again = coefficients.requires_grad
            return torch.autograd.grad(apply(*zeros), zeros, coefficients, create_graph=again)

    return pull


def monotone(apply: Map) -> Maps:
    """A map none of whose coefficients is negative, such as an average."""

    def spread(*radii: Tensor) -> Tensor:
        out: Tensor = apply(*radii) - apply(*(torch.zeros_like(radius[:1]) for radius in radii))
        return out

    return Maps(apply=apply, spread=spread, pull=by_autograd(apply))


def reshaped(shape: Shape) -> Maps:
    """A change of shape, to `shape` for one image."""

    def apply(x: Tensor) -> Tensor:
        return x.reshape(len(x), *shape)

    return Maps(apply=apply, spread=apply, pull=lambda c, to: (c.reshape(len(c), *to[0]),))


def summed(sign: int) -> Maps:
    """Sum a + b, or difference a - b, of two inputs of one shape."""
    return Maps(
        apply=lambda a, b: a + sign * b,
        spread=lambda a, b: a + b,
        pull=lambda c, _: (c, sign * c),
    )


def scaled(factor: Any, shift: Any = 0.0) -> Maps:
    """Factor x a + shift, of constants that do not change the shape of a."""
    return Maps(
        apply=lambda a: a * factor + shift,
        spread=lambda a: a * abs(factor),
        pull=lambda c, _: (c * factor,),
    )


def convolution(layer: nn.Conv2d) -> Maps:
    """A convolution whose padding is zeros, as many as its settings say in numbers."""
    weight, settings = layer.weight, (layer.stride, layer.padding, layer.dilation, layer.groups)
    pads: Any = layer.padding

    def pull(c: Tensor, shapes: Sequence[Shape]) -> tuple[Tensor, ...]:
        reached = (
            (out - 1) * stride - 2 * pad + dilation * (kernel - 1) + 1
            for out, kernel, stride, pad, dilation in zip(
                c.shape[2:],
                layer.kernel_size,
                layer.stride,
                pads,
                layer.dilation,
                strict=True,
            )
        )
        rest = [size - end for size, end in zip(shapes[0][1:], reached, strict=True)]
        places: Any = (layer.stride, layer.padding, rest, layer.groups, layer.dilation)
        return (F.conv_transpose2d(c, weight, None, *places),)

    return Maps(
        apply=lambda x: F.conv2d(x, weight, layer.bias, *settings),  # type: ignore[arg-type]
        spread=lambda r: F.conv2d(r, weight.abs(), None, *settings),  # type: ignore[arg-type]
        pull=pull,
    )


def linear(layer: nn.Linear) -> Maps:
    """A linear layer."""
    weight = layer.weight
    return Maps(
        apply=partial(F.linear, weight=weight, bias=layer.bias),
        spread=partial(F.linear, weight=weight.abs()),
        pull=lambda c, _: (c @ weight,),
    )


def batch_norm(layer: nn.BatchNorm1d | nn.BatchNorm2d, dims: int) -> Maps:
    """Batch normalisation by its running statistics, of inputs of so many dimensions."""
    assert layer.running_mean is not None and layer.running_var is not None
    scale = (layer.running_var + layer.eps).rsqrt()
    scale = scale if layer.weight is None else scale * layer.weight
    shift = -layer.running_mean * scale
    shift = shift if layer.bias is None else shift + layer.bias
    wide = (-1, *[1] * (dims - 2))
    return scaled(scale.view(wide), shift.view(wide))
