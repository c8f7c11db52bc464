"""Captured functions: recorded once for each shape, replayed from then on, run where that fails.

A captured function sees no device. It takes nets, tensors and settings, and returns tensors in any
structure; on a CPU it is simply called. Where a recorder is in use, its first calls at a shape are
run, the next is recorded, and later ones are replays: tensors are copied in and copied out, so that
a caller sees no difference but speed. Everything that is no tensor is part of what was recorded.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from fftune.capture.cuda_graphs import cuda_recorder
from fftune.capture.owners import Owner
from fftune.capture.recorded import recording
from fftune.capture.spec import Recorder
from fftune.capture.store import FirstUse, Store
from fftune.errors import ConfigError

P = ParamSpec("P")
T = TypeVar("T")

SWITCH = "FFTUNE_CAPTURE"
"""Environment variable that turns recording off, to look for a mistake: "on" or "off"."""
_FORCED: ContextVar[Recorder | None] = ContextVar("forced", default=None)
_STORE = Store()


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
    change tensors of its modules and optimizers in place, but none of its own arguments; what it
    returns does not require grad. Gradients of a module are read only where its optimizer is an
    argument. What it changes beside tensors, a replay does not change, nor does it see a number
    that was changed in a module: `forget` that.

    Raises:
        ConfigError: the environment's `FFTUNE_CAPTURE` is neither "on" nor "off".
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if _FORCED.get() is None and not (_switched_on() and torch.cuda.is_initialized()):
            return function(*args, **kwargs)
        leaves, tree = tree_flatten((args, kwargs))
        recorder = None if recording() else _FORCED.get() or _recorder(_device(leaves))
        if recorder is None:
            return function(*args, **kwargs)
        result: T = _STORE.run(recorder, function, leaves, tree)
        return result

    return call


def forget(owner: Owner | None = None) -> None:
    """Drop all recordings that a module or an optimizer takes part in; None: all there are."""
    _STORE.forget(owner)


def first_use() -> FirstUse:
    """Seconds spent so far on calls before recordings and on recording, and how many they were."""
    return replace(_STORE.spent)


def records(device: str) -> bool:
    """True if captured functions are recorded on a device: addresses must last there."""
    return (_FORCED.get() or _recorder(torch.device(device))) is not None


def _device(leaves: Sequence[Any]) -> torch.device | None:
    """Device of the first tensor, else of the first weight; None: there is neither."""
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            return leaf.device
    nets = (leaf for leaf in leaves if isinstance(leaf, nn.Module))
    optimizers = (leaf for leaf in leaves if isinstance(leaf, torch.optim.Optimizer))
    weights = (weight for net in nets for weight in net.parameters())
    stepped = (p for o in optimizers for group in o.param_groups for p in group["params"])
    return next((weight.device for found in (weights, stepped) for weight in found), None)


def _recorder(device: torch.device | None) -> Recorder | None:
    if device is None or device.type != "cuda" or not _switched_on():
        return None
    if device == torch.device("cuda") and torch.cuda.is_available():  # one recorder a device
        device = torch.device("cuda", torch.cuda.current_device())
    return cuda_recorder(device)


def _switched_on() -> bool:
    switch = os.environ.get(SWITCH) or "on"
    if switch not in ("on", "off"):
        raise ConfigError(f"{SWITCH} must be on or off, got {switch!r}")
    return switch == "on"
