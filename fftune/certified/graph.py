"""The graph of a net as steps that bounds are carried through, traced by `torch.fx`."""

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from fftune.certified.steps import (
    Maps,
    Shape,
    Step,
    batch_norm,
    convolution,
    linear,
    monotone,
    reshaped,
    scaled,
    summed,
)
from fftune.errors import ConfigError

KNOWN = (
    "convolutions, linear layers, ReLU, batch normalisation, average pooling, changes of shape, "
    "padding with zeros, slices, sums, and constants added or multiplied"
)
"""Operations that bounds can be carried through."""
TRIED_ON = 3
"""Random images on which the steps must answer as the net does."""
AGREEMENT = 1e-4
"""Relative difference that is rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A net as steps in an order in which each takes outputs of earlier ones."""

    steps: tuple[Step, ...]
    """The first is the images; the last, affine, the logits."""

    @property
    def classes(self) -> int:
        """Number of logits."""
        return self.steps[-1].shape[0]

    @property
    def rectified(self) -> tuple[int, ...]:
        """Indices of the ReLU steps."""
        return tuple(i for i, step in enumerate(self.steps) if step.kind == "relu")

    def shapes_into(self, index: int) -> list[Shape]:
        """Shapes of a step's inputs, for one image."""
        return [self.steps[i].shape for i in self.steps[index].inputs]

    def logits(self, x: Tensor) -> Tensor:
        """(B, K) logits of images, by the steps."""
        values: list[Tensor] = []
        for step in self.steps:
            given = [values[i] for i in step.inputs]
            if step.maps is not None:
                values.append(step.maps.apply(*given))
            else:
                values.append(given[0].relu() if step.kind == "relu" else x)
        return values[-1]


def graph_of(net: nn.Module, x: Tensor) -> Graph:
    """Trace a net in eval mode.

    Args:
        x: (B, C, H, W) fp32, one image at least, of the shape that it takes.

    Raises:
        ConfigError: it has an operation beside `KNOWN`, which the message names; or it is not in
            fp32; or what it does depends on the images' values or number.
    """
    if any(module.training for module in net.modules()):
        raise ConfigError("net cannot be certified: it is not in eval mode")
    types = {x.dtype, *(value.dtype for value in net.parameters())}
    if types != {torch.float32}:
        raise ConfigError(f"net cannot be certified: it is in {sorted(map(str, types))}, not fp32")
    whole, tracer = nn.Sequential(net).eval(), _Tracer()
    try:
        traced = tracer.trace(whole)
    except Exception as error:  # noqa: BLE001 - whatever tracing the user's code raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        told = f"net cannot be certified: {tracer.inside} is no fixed graph"
        raise ConfigError(f"{told}: {reason}") from None
    builder = _Builder(fx.GraphModule(whole, traced))
    try:
        with torch.no_grad():
            builder.run(x[:1].detach().repeat(2, 1, 1, 1))
            graph = Graph(tuple(builder.steps))
            _check(net, graph, x)
    except RuntimeError as error:  # of torch, as where a shape holds for one batch alone
        reason = str(error).splitlines()[0]
        raise ConfigError(f"net cannot be certified: its graph fails: {reason}") from None
    return graph


def _check(net: nn.Module, graph: Graph, x: Tensor) -> None:
    """Compare what the steps and the net answer to images of noise.

    Raises:
        ConfigError: they differ, as where images of a batch are mixed, or branches taken by value.
    """
    shape = (TRIED_ON, *x.shape[1:])
    few = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(x)
    said, meant = graph.logits(few), net(few)
    if said.shape != meant.shape or not bool(
        ((said - meant).abs() <= AGREEMENT * (1 + meant.abs().amax())).all()
    ):
        raise ConfigError("net cannot be certified: its traced graph answers other logits")


class _Tracer(fx.Tracer):
    """Traces a net, and knows in which layer it is."""

    inside = "it"

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        path, outer = self.path_of_module(m).removeprefix("0").removeprefix("."), self.inside
        self.inside = f"layer {path!r} ({type(m).__name__})" if path else outer
        result = super().call_module(m, forward, args, kwargs)
        self.inside = outer
        return result


class _Builder(fx.Interpreter):
    """Runs a net on two equal images and notes a step for each operation on them."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.extra_traceback = False  # its lines would be part of the message
        self.steps: list[Step] = []
        self.at: dict[fx.Node, int] = {}
        """Step of each node whose value depends on the images."""

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.op == "placeholder":
            self.at[n] = self._add(Step(name="input", kind="input", shape=tuple(value.shape[1:])))
        elif n.op == "output":
            self._finish(n)
        elif isinstance(value, Tensor) and any(node in self.at for node in n.all_input_nodes):
            self.at[n] = self._noted(n, value)
        return value

    def _noted(self, n: fx.Node, value: Tensor) -> int:
        """Index of the step of a node, which may be that of its input."""
        inputs = tuple(self.at[node] for node in n.all_input_nodes if node in self.at)
        target: Any = self.fetch_attr(str(n.target)) if n.op == "call_module" else n.target
        kind = type(target) if n.op == "call_module" else target
        if value.dtype != torch.float32 or value.dim() < 2 or len(value) != 2:
            raise self._unknown(n)
        shape = tuple(value.shape[1:])
        if kind in _SAME:
            return inputs[0]
        if kind in _RELU:
            at = self._add(Step(name=_name(n), kind="relu", inputs=inputs, shape=shape))
            in_place = getattr(target, "inplace", False) or n.kwargs.get("inplace")
            if in_place or _name(target).endswith("_"):
                self.at[n.all_input_nodes[0]] = at  # what it took is no more
            return at
        maps = self._maps(n, target, kind, shape)
        if maps is None:
            raise self._unknown(n)
        step = Step(name=_name(n), kind="affine", inputs=inputs, shape=shape, maps=maps)
        return self._add(step)

    def _maps(self, n: fx.Node, target: Any, kind: Any, shape: Shape) -> Maps | None:
        """Maps of an affine operation; None if it is not known."""
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        moving = [isinstance(arg, fx.Node) and arg in self.at for arg in n.args]
        if n.op == "call_module":
            return _of_module(target, args[0], shape)
        if kind in _RESHAPES:
            return reshaped(shape)
        if kind in _MONOTONE and moving[:1] == [True] and self._sources(n) == 1:
            return monotone(_called(n.op, kind, args[1:], dict(kwargs)))
        if kind not in _ARITHMETIC or kwargs or len(args) != 2:
            return None
        if any(
            isinstance(arg, Tensor) and is_moving and tuple(arg.shape[1:]) != shape
            for arg, is_moving in zip(args, moving, strict=True)
        ):
            return None  # it is spread over a larger shape
        return _arithmetic(_ARITHMETIC[kind], args, moving)

    def _sources(self, n: fx.Node) -> int:
        """Number of the inputs of a node that depend on the images."""
        return sum(node in self.at for node in n.all_input_nodes)

    def _add(self, step: Step) -> int:
        if step.maps is not None:
            zeros = (torch.zeros(1, *self.steps[i].shape) for i in step.inputs)
            device = next((p.device for p in self.module.parameters()), torch.device("cpu"))
            offset = step.maps.apply(*(zero.to(device) for zero in zeros))[0]
            step = replace(step, offset=offset.detach())
        self.steps.append(step)
        return len(self.steps) - 1

    def _finish(self, n: fx.Node) -> None:
        out = n.args[0]
        if not isinstance(out, fx.Node) or out not in self.at:
            raise ConfigError("net cannot be certified: it returns more than a tensor of logits")
        last = self.at[out]
        shape = self.steps[last].shape
        if len(shape) != 1:
            raise self._unknown(out)
        if last != len(self.steps) - 1 or self.steps[last].kind != "affine":
            same = reshaped(shape)
            self._add(Step(name="logits", kind="affine", inputs=(last,), shape=shape, maps=same))

    def _unknown(self, n: fx.Node) -> ConfigError:
        """The error of an operation that bounds are not carried through."""
        if n.op == "call_module":
            what = f"layer {_name(n)!r} ({type(self.fetch_attr(str(n.target))).__name__})"
        else:
            what = f"operation {_name(n.target)!r}"
            layers = [str(path) for path, _ in (n.meta.get("nn_module_stack") or {}).values()]
            inside = layers[-1].removeprefix("0").removeprefix(".") if layers else ""
            what += f" in layer {inside!r}" if inside else ""
        return ConfigError(f"net cannot be certified: {what} is not among {KNOWN}")


def _of_module(layer: nn.Module, given: Tensor, shape: Shape) -> Maps | None:
    """Maps of an affine module; None if it is not known."""
    kind = type(layer)
    if isinstance(layer, nn.Conv2d) and kind is nn.Conv2d:
        numbers = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
        return convolution(layer) if numbers else None
    if isinstance(layer, nn.Linear) and kind is nn.Linear:
        return linear(layer)
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.running_mean is not None:
        return batch_norm(layer, given.dim())
    if kind in (nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.ZeroPad2d):
        return monotone(layer)
    return reshaped(shape) if kind in (nn.Flatten, nn.Unflatten) else None


def _arithmetic(word: str, args: tuple[Any, ...], moving: list[bool]) -> Maps | None:
    """Maps of a sum, difference, product or quotient; None if it is not affine."""
    a, b = args
    if all(moving):
        return {"+": summed(1), "-": summed(-1)}.get(word)
    if moving[0]:
        return {
            "+": lambda: scaled(1.0, b),
            "-": lambda: scaled(1.0, -b),
            "*": lambda: scaled(b),
            "/": lambda: scaled(1 / b),
        }[word]()
    if word == "/":
        return None
    return {"+": lambda: scaled(1.0, a), "-": lambda: scaled(-1.0, a), "*": lambda: scaled(a)}[
        word
    ]()


def _called(op: str, kind: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if op == "call_method":
        return lambda x: getattr(x, kind)(*args, **kwargs)
    return lambda x: kind(x, *args, **kwargs)


def _name(n: Any) -> str:
    """Name of a layer, or of what an operation calls."""
    if isinstance(n, fx.Node):
        return str(n.target).removeprefix("0.") if n.op == "call_module" else n.name
    return n if isinstance(n, str) else str(getattr(n, "__name__", n))


_SAME = {nn.Identity, nn.Dropout, nn.Dropout2d, "contiguous", "clone", "float"}
"""Operations that change nothing in eval mode and in fp32."""
_RELU = {nn.ReLU, F.relu, torch.relu, "relu", torch.relu_, "relu_"}
_RESHAPES = {torch.flatten, torch.reshape, torch.squeeze, "flatten", "reshape", "view", "squeeze"}
_MONOTONE = {
    *(F.avg_pool2d, F.adaptive_avg_pool2d, torch.mean, "mean", torch.sum, "sum", F.pad),
    *(operator.getitem, torch.permute, "permute", torch.transpose, "transpose"),
}
_ARITHMETIC: dict[Any, str] = {
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add", "add_"), "+"),
    **dict.fromkeys((operator.sub, operator.isub, torch.sub, "sub", "sub_"), "-"),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, "mul"), "*"),
    **dict.fromkeys((operator.truediv, torch.div, "div"), "/"),
}
