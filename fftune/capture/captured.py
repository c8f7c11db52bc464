"""Captured functions: recorded once for each shape, replayed from then on, run where that fails.

A captured function sees no device. It takes nets, tensors and settings, and returns tensors in any
structure; on a CPU it is simply called. Where a recorder is in use, its first calls at a shape are
run, the next is recorded, and later ones are replays: tensors are copied in and copied out, so that
a caller sees no difference but speed. Everything that is no tensor is part of what was recorded.
"""

import logging
import weakref
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from fftune.capture.cuda_graphs import cuda_recorder
from fftune.capture.spec import Recorder, Recording

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

WARM = 2
"""Calls at a shape that are run before it is recorded: one that comes only once never is."""
KEPT = 48
"""Recordings that are kept, the last used ones."""

_RECORDING: ContextVar[bool] = ContextVar("recording", default=False)
_FORCED: ContextVar[Recorder | None] = ContextVar("forced", default=None)


def recording() -> bool:
    """True inside a function while it is recorded: no value may be read on the host."""
    return _RECORDING.get()


@contextmanager
def use(recorder: Recorder | None) -> Iterator[None]:
    """Record with this recorder inside the block, on whatever device; None: as the device has."""
    token = _FORCED.set(recorder)
    try:
        yield
    finally:
        _FORCED.reset(token)


def captured(function: Callable[P, T]) -> Callable[P, T]:
    """A function that is recorded for each shape of its tensors, and replayed.

    Arguments are tensors, modules and optimizers, whose tensors keep their addresses, and values
    that can be hashed; tuples, lists and dictionaries of them. The function must not read values on
    the host while `recording()`, nor tensors that neither are arguments nor belong to one. It may
    change tensors of its modules and optimizers in place, but none of its own arguments.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if _FORCED.get() is None and not torch.cuda.is_initialized():
            return function(*args, **kwargs)
        leaves, tree = tree_flatten((args, kwargs))
        recorder = _recorder(leaves)
        if recorder is None or recording() or not _recordable(leaves):
            return function(*args, **kwargs)
        result: T = _STORE.run(recorder, function, leaves, tree)
        return result

    return call


def forget(owner: nn.Module | torch.optim.Optimizer) -> None:
    """Drop all recordings that a module or an optimizer takes part in."""
    _STORE.forget(id(owner))


def _recorder(leaves: Sequence[Any]) -> Recorder | None:
    forced = _FORCED.get()
    if forced is not None:
        return forced
    device = next((leaf.device for leaf in leaves if isinstance(leaf, Tensor)), None)
    return None if device is None or device.type != "cuda" else cuda_recorder()


@dataclass(slots=True, eq=False)
class _Graph:
    """One recording, with the tensors at its fixed addresses."""

    recorded: Recording
    inputs: list[Tensor]
    outputs: list[Any]
    tree: TreeSpec
    addresses: tuple[int, ...]
    """Where the weights and states lay that it reads."""

    def __call__(self, tensors: Sequence[Tensor]) -> Any:
        for own, new in zip(self.inputs, tensors, strict=True):
            own.copy_(new)
        self.recorded.replay()
        copies = [out.clone() if isinstance(out, Tensor) else out for out in self.outputs]
        return tree_unflatten(copies, self.tree)


@dataclass(frozen=True, slots=True)
class _Key:
    """What a recording is known by."""

    function: Callable[..., Any]
    owners: tuple[int, ...]
    """Identities of its modules and optimizers."""
    rest: Hashable = None
    """Recorder, structure, shapes, settings and modes; None: all of them."""


class _Store:
    """Recordings of a process, the last used ones."""

    def __init__(self) -> None:
        self.graphs: OrderedDict[_Key, _Graph] = OrderedDict()
        self.calls: Counter[_Key] = Counter()
        self.plain: set[_Key] = set()
        """What cannot be recorded."""
        self.watched: set[int] = set()

    def run(
        self, recorder: Recorder, function: Callable[..., Any], leaves: list[Any], tree: TreeSpec
    ) -> Any:
        """Replay the function, or run it: for the first times, and where it cannot be recorded."""

        def plain(with_: Sequence[Any] = leaves) -> Any:
            args, kwargs = tree_unflatten(list(with_), tree)
            return function(*args, **kwargs)

        owners = [leaf for leaf in leaves if _owns_tensors(leaf)]
        subject = _Key(function, tuple(map(id, owners)))
        if subject in self.plain:
            return plain()
        key = replace(subject, rest=(id(recorder), tree, tuple(map(_form, leaves)), _modes(owners)))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        found = self.graphs.get(key)
        if found is not None and found.addresses == _addresses(owners):
            self.graphs.move_to_end(key)
            return found(tensors)
        self._watch(owners)
        self.calls[key] += 1
        if self.calls[key] <= WARM:
            return recorder.warm(plain)
        try:
            made = _recorded(recorder, plain, leaves, owners)
        except Exception as error:  # whatever recording raises: the plain call is as right
            log.debug("recording failed", exc_info=True)
            log.info("%s runs unrecorded: %s", _name(function), _first_line(error))
            self.plain.add(subject)
            return plain()
        self.graphs[key] = made
        while len(self.graphs) > KEPT:
            self.graphs.popitem(last=False)
        return made(tensors)

    def forget(self, owner: int) -> None:
        """Drop all that is known of a module by its identity."""
        for known in (self.graphs, self.calls):
            for key in [key for key in known if owner in key.owners]:
                del known[key]
        self.plain = {key for key in self.plain if owner not in key.owners}
        self.watched.discard(owner)

    def _watch(self, owners: Sequence[Any]) -> None:
        for owner in owners:
            if id(owner) not in self.watched:
                self.watched.add(id(owner))
                weakref.finalize(owner, self.forget, id(owner))


_STORE = _Store()


def _recorded(
    recorder: Recorder,
    plain: Callable[[Sequence[Any]], Any],
    leaves: Sequence[Any],
    owners: Sequence[Any],
) -> _Graph:
    held = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    inputs = [leaf for leaf in held if isinstance(leaf, Tensor)]
    token = _RECORDING.set(True)
    try:
        made, result = recorder.record(lambda: plain(held), [*inputs, *_tensors(owners)])
    finally:
        _RECORDING.reset(token)
    outputs, tree = tree_flatten(result)
    return _Graph(made, inputs, outputs, tree, _addresses(owners))


def _form(leaf: Any) -> Hashable:
    if isinstance(leaf, Tensor):
        return (leaf.shape, leaf.stride(), leaf.dtype, leaf.device)
    return (id(leaf),) if _owns_tensors(leaf) else leaf


def _modes(owners: Sequence[Any]) -> Hashable:
    """All that changes what nets compute at equal inputs."""
    cudnn = torch.backends.cudnn
    return (
        *(owner.training for owner in owners if isinstance(owner, nn.Module)),
        torch.is_grad_enabled(),
        torch.is_autocast_enabled("cuda"),
        torch.is_autocast_enabled("cpu"),
        cudnn.allow_tf32,
        cudnn.deterministic,
        torch.backends.cuda.matmul.allow_tf32,
    )


def _recordable(leaves: Sequence[Any]) -> bool:
    """False for modules whose answers depend on more than tensors, as their class says."""
    return all(getattr(leaf, "recordable", True) for leaf in leaves if isinstance(leaf, nn.Module))


def _owns_tensors(leaf: Any) -> bool:
    return isinstance(leaf, nn.Module | torch.optim.Optimizer)


def _tensors(owners: Sequence[Any]) -> Iterator[Tensor]:
    """Weights, buffers, gradients and states that lie at fixed addresses."""
    for owner in owners:
        if isinstance(owner, nn.Module):
            yield from owner.buffers()
            parameters = list(owner.parameters())
        else:
            yield from (
                value
                for state in owner.state.values()
                for value in state.values()
                if isinstance(value, Tensor)
            )
            parameters = [p for group in owner.param_groups for p in group["params"]]
        for parameter in parameters:
            yield parameter
            if parameter.grad is not None:
                yield parameter.grad


def _addresses(owners: Sequence[Any]) -> tuple[int, ...]:
    return tuple(tensor.data_ptr() for tensor in _tensors(owners))


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", repr(function))


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
