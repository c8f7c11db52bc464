"""A recorder for any device that keeps a function's operations and runs them again.

It holds functions to what a CUDA graph demands, so that a CPU can test them: the same addresses,
no look at a value, no tensor from elsewhere, no shape that depends on data.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fftune.capture.spec import UnrecordableError

HOST = {
    *("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "nonzero_static"),
    *("masked_select", "lift_fresh", "lift_fresh_copy", "_unique2", "unique_dim"),
    *("unique_consecutive", "bincount", "repeat_interleave"),
}
"""Operations that wait for the device, or make a tensor of what the host knows."""
RANDOM = {"rand", "randn", "randint", "bernoulli", "uniform_", "normal_", "rand_like", "randn_like"}
"""Operations that draw from a shared stream; dropout's are among them."""


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

    def __init__(self) -> None:
        self.records = 0
        self.replays = 0

    def warm(self, call: Callable[[], Any]) -> Any:
        """Run it; see `Recorder.warm`."""
        return call()

    def record(self, call: Callable[[], Any], persistent: Sequence[Tensor]) -> tuple["Track", Any]:
        """Run it once, operation by operation; see `Recorder.record`.

        Raises:
            UnrecordableError: a CUDA graph could not hold it.
        """
        track, before = Track(self), [tensor.detach().clone() for tensor in persistent]
        try:
            with _Listener(track, persistent):
                result = call()
        except Exception:  # as if it had not been run, which a device has not
            with torch.no_grad():
                for tensor, value in zip(persistent, before, strict=True):
                    tensor.copy_(value)
            raise
        self.records += 1
        return track, result


class Track:
    """The operations of one function."""

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
        with torch.no_grad():
            for operation in self.operations:
                made = tree_leaves(operation.function(*operation.args, **operation.kwargs))
                for at, kept in zip(operation.places, operation.outputs, strict=True):
                    kept.copy_(made[at])


class _Listener(TorchDispatchMode):
    def __init__(self, track: Track, persistent: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.track = track
        self.known = {_storage(tensor) for tensor in persistent}
        self.alive: list[Tensor] = []  # no address is given away twice

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in HOST:
            raise UnrecordableError(f"{name} asks the host")
        taken = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        self._check(name, args, taken)
        result = func(*args, **kwargs)
        outputs = tree_leaves(result)
        inside = {_storage(tensor) for tensor in taken}
        fresh = [
            at
            for at, out in enumerate(outputs)
            if isinstance(out, Tensor) and _storage(out) not in inside
        ]
        self.known |= {_storage(outputs[at]) for at in fresh}
        self.alive += [*taken, *(outputs[at] for at in fresh)]
        made = tuple(outputs[at].detach() for at in fresh)
        self.track.operations.append(_Operation(func, args, kwargs, made, tuple(fresh)))
        return result

    def _check(self, name: str, args: Any, taken: Sequence[Tensor]) -> None:
        foreign = [t for t in taken if _storage(t) not in self.known and t.numel()]
        if foreign:
            shape = tuple(foreign[0].shape)
            raise UnrecordableError(f"{name} reads a tensor of {shape} that is no argument")
        if name.startswith("index") and len(args) > 1:
            masks = [t for t in tree_leaves(args[1]) if isinstance(t, Tensor)]
            if any(mask.dtype == torch.bool for mask in masks):
                raise UnrecordableError(f"{name} by a mask: its shape depends on data")


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
