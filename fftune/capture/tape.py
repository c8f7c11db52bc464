"""A recorder for any device that keeps a function's operations and runs them again.

It holds functions to what a CUDA graph demands, so that a CPU can test them: the same addresses,
no look at a value, no tensor from elsewhere, no shape that depends on data.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fftune.capture.spec import UnrecordableError

HOST = {
    *("_local_scalar_dense", "equal", "allclose", "_linalg_check_errors"),
    *("lift_fresh", "lift_fresh_copy"),
}
"""Operations that wait for the device, or make a tensor of what the host knows."""
DATA = {
    *("nonzero", "masked_select", "bincount", "histc", "repeat_interleave"),
    *("_unique", "_unique2", "unique_dim", "unique_consecutive"),
}
"""Operations whose shapes depend on data."""
MOVES = {"set_", "resize_", "resize_as_"}
"""Operations after which a tensor lies elsewhere."""
CALLS = {
    *("item", "tolist", "numpy", "__array__", "cpu", "cuda", "pin_memory"),
    *("__bool__", "__float__", "__int__", "__index__"),
}
"""Methods of tensors that a CPU answers without an operation, and a device by waiting."""

UNLIKELY = {"numpy", "__array__", "pin_memory", "cuda"}
"""Those of them that a function of any device calls for tensors of the host alone."""


@dataclass(frozen=True, slots=True)
class _Operation:
    function: Any
    args: Any
    kwargs: Any
    outputs: tuple[Tensor, ...]
    """Those that are not an argument, or a view of one."""
    places: tuple[int, ...]


class Tape:
    """Records by running; its first replay is that run itself."""

    room = inf

    def __init__(self) -> None:
        self.records = 0
        self.replays = 0

    def warm(self, call: Callable[[], Any]) -> tuple[Any, str]:
        """Run it; see `Recorder.warm`. Looks at values are found out here, as on a device."""
        with _HostCalls() as calls:
            calls.refuses = False
            result = call()
        return result, f"{calls.asked[0]} asks the host" if calls.asked else ""

    def record(
        self, call: Callable[[], Any], persistent: Sequence[Tensor], inputs: Sequence[Tensor]
    ) -> tuple["Track", Any]:
        """Run it once, operation by operation; see `Recorder.record`.

        Raises:
            UnrecordableError: a CUDA graph could not hold it.
        """
        track = Track(self)
        kept = [(tensor, tensor.detach().clone()) for tensor in persistent]
        drawn = torch.get_rng_state()
        try:
            with _HostCalls(), _Listener(track, persistent, inputs):
                result = call()
        except BaseException:
            torch.set_rng_state(drawn)
            for tensor, before in kept:
                tensor.detach().copy_(before)
            raise
        self.records += 1
        return track, result


class Track:
    """The operations of one function."""

    bytes = 0

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.operations: list[_Operation] = []
        self.ran = True

    def replay(self) -> None:
        """Run the operations again, at the same addresses."""
        self.tape.replays += 1
        if self.ran:
            self.ran = False
            return
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            for operation in self.operations:
                made = tree_leaves(operation.function(*operation.args, **operation.kwargs))
                for at, kept in zip(operation.places, operation.outputs, strict=True):
                    kept.copy_(made[at])


class _HostCalls(TorchFunctionMode):
    """Refuses, or lists, calls that never become an operation on a CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses = True
        self.asked: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in CALLS or (name == "to" and "cpu" in args[1:]):
            if name not in UNLIKELY:
                self.asked.append(name)
            if self.refuses:
                raise UnrecordableError(f"{name} asks the host")
        if self.refuses and name == "__set__" and getattr(func, "__self__", None) is Tensor.data:
            raise UnrecordableError("a tensor's data are set: it lies elsewhere then")
        return func(*args, **(kwargs or {}))


class _Listener(TorchDispatchMode):
    def __init__(
        self, track: Track, persistent: Sequence[Tensor], inputs: Sequence[Tensor]
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.track = track
        self.inputs = {_storage(tensor) for tensor in inputs}
        self.known = {_storage(tensor) for tensor in persistent} | self.inputs
        self.devices = {tensor.device for tensor in (*persistent, *inputs)}
        self.alive: list[Tensor] = []  # no address is given away twice

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        taken = _tensors((args, kwargs))
        self._check(func, args, kwargs, taken)
        result = func(*args, **kwargs)
        outputs = tree_leaves(result)
        inside = {_storage(tensor) for tensor in taken}
        fresh = [
            at
            for at, out in enumerate(outputs)
            if isinstance(out, Tensor) and _storage(out) not in inside
        ]
        if any(out.device not in self.devices for out in _tensors(result)):
            raise UnrecordableError(f"{func} makes a tensor on another device")
        self.known |= {_storage(outputs[at]) for at in fresh}
        self.alive += [*taken, *(outputs[at] for at in fresh)]
        made = tuple(outputs[at].detach() for at in fresh)
        self.track.operations.append(_Operation(func, args, kwargs, made, tuple(fresh)))
        return result

    def _check(self, func: Any, args: Any, kwargs: Any, taken: Sequence[Tensor]) -> None:
        name = func.overloadpacket.__name__
        if name in HOST:
            raise UnrecordableError(f"{name} asks the host")
        if name in DATA:
            raise UnrecordableError(f"{name}: its shape depends on data")
        if name in MOVES:
            raise UnrecordableError(f"{name} lets a tensor lie elsewhere")
        if any(isinstance(leaf, torch.Generator) for leaf in tree_leaves((args, kwargs))):
            raise UnrecordableError(f"{name} draws from a generator of its own")
        foreign = [t for t in taken if _storage(t) not in self.known and t.numel()]
        if foreign:
            shape = tuple(foreign[0].shape)
            raise UnrecordableError(f"{name} reads a tensor of {shape} that is no argument")
        masks = _tensors(args[1:2]) if name.startswith("index") else []
        if any(mask.dtype in (torch.bool, torch.uint8) for mask in masks):
            raise UnrecordableError(f"{name} by a mask: its shape depends on data")
        if any(_storage(tensor) in self.inputs for tensor in _written(func, args, kwargs)):
            raise UnrecordableError(f"{name} changes an argument in place")


def _written(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Tensor]:
    """Tensors that an operation writes to, as its schema says."""
    expected = func._schema.arguments
    named = {a.name: value for a, value in zip(expected, args, strict=False)} | kwargs
    written = {a.name for a in expected if a.alias_info is not None and a.alias_info.is_write}
    return _tensors([value for name, value in named.items() if name in written])


def _tensors(of: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(of) if isinstance(leaf, Tensor)]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
