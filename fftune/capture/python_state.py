"""State of Python that a function may change beside tensors, which no replay would change."""

import pickle
import random
from collections import deque
from collections.abc import Iterator
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

DEPTH = 3
"""Containers within containers that are looked into."""
_OPAQUE = (nn.Module, Optimizer, Tensor, type, ModuleType, FunctionType, MethodType)
_STREAMS = (random.Random, np.random.Generator, np.random.RandomState)


class Contents:
    """Members of a container at one moment; those of its members are apart."""

    def __init__(self, container: Any) -> None:
        self.container = container
        self.before = _contents(container)

    def changed(self) -> list[Any]:
        """Keys or places whose value is another now."""
        now, missing = _contents(self.container), object()
        keys = now.keys() | self.before.keys()
        return [k for k in keys if not _same(now.get(k, missing), self.before.get(k, missing))]

    def put_back(self) -> None:
        """Let it hold what it held."""
        if not self.changed():
            return
        if isinstance(self.container, np.ndarray):
            kept = np.frombuffer(self.before["values"], self.container.dtype)
            self.container[...] = kept.reshape(self.container.shape)
            return
        self.container.clear()
        if isinstance(self.container, dict):
            self.container.update(self.before)
        elif isinstance(self.container, set):
            self.container.update(self.before.values())
        else:
            self.container.extend(self.before.values())


class Stream:
    """State of a random generator of Python or NumPy at one moment."""

    def __init__(self, generator: Any) -> None:
        self.generator = generator
        self.before = self._state()

    def changed(self) -> bool:
        """True where someone, perhaps another thread, has drawn since."""
        return pickle.dumps(self._state()) != pickle.dumps(self.before)

    def put_back(self) -> None:
        """Let the next draws be those that would have come."""
        if isinstance(self.generator, np.random.Generator):
            self.generator.bit_generator.state = self.before
        else:
            put = getattr(self.generator, "setstate", None) or self.generator.set_state
            put(self.before)

    def _state(self) -> Any:
        if isinstance(self.generator, np.random.Generator):
            return self.generator.bit_generator.state
        ask = getattr(self.generator, "getstate", None) or self.generator.get_state
        return ask()


def global_streams() -> list[Stream]:
    """The generators that `random.random()` and `numpy.random.rand()` draw from."""
    return [Stream(random), Stream(np.random)]


def held_by(value: Any) -> list[Contents | Stream]:
    """State of a list, dictionary, set, array, generator or plain object, and of those inside.

    Nets, tensors and what belongs to torch are not looked into.
    """
    found = _containers(value, DEPTH, set())
    return [Stream(each) if isinstance(each, _STREAMS) else Contents(each) for each in found]


def _containers(value: Any, depth: int, seen: set[int]) -> Iterator[Any]:
    if isinstance(value, _OPAQUE) or type(value).__module__.partition(".")[0] == "torch":
        return
    if not isinstance(value, (*_STREAMS, list, tuple, dict, set, deque, np.ndarray)):
        value = getattr(value, "__dict__", None)
        if not isinstance(value, dict):
            return
    if id(value) in seen:
        return
    seen.add(id(value))
    if not isinstance(value, tuple):
        yield value
    if depth and isinstance(value, list | tuple | dict | deque):
        for member in value.values() if isinstance(value, dict) else value:
            yield from _containers(member, depth - 1, seen)


def _contents(container: Any) -> dict[Any, Any]:
    if isinstance(container, dict):
        return dict(container)
    if isinstance(container, set):
        return {value: value for value in container}
    if isinstance(container, np.ndarray):
        return {"values": container.tobytes()}
    return dict(enumerate(container))


def _same(one: Any, other: Any) -> bool:
    simple = isinstance(one, bool | int | float | str | bytes | torch.Size)
    return one is other or (simple and type(one) is type(other) and bool(one == other))
