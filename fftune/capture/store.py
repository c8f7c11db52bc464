"""Recordings of a process: which there are, the last used ones, and what cannot be recorded."""

import logging
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_unflatten

from fftune.capture.owners import Held, Owner, Serials, is_owner, modes, unrecordable
from fftune.capture.recorded import Recorded, as_recorded
from fftune.capture.spec import DrawnError, Recorder, UnrecordableError

log = logging.getLogger(__name__)

WARM = 2
"""Calls at a shape that are run before it is recorded.

In the first, libraries choose their algorithms, which waits for the device, and optimizers make
their states; the second finds everything as all later ones will. A shape that comes only once or
twice is not recorded at all.
"""
KEPT = 48
"""Recordings that are kept, the last used ones, where bytes allow."""
COUNTED = 1024
"""Shapes whose calls are counted, the last seen ones."""
MOVES = 8
"""Times that weights may come to lie elsewhere before a function is given up."""
REST = 100
"""Calls at a shape, after memory ran out or numbers were drawn, until it is tried again."""


@dataclass(slots=True, kw_only=True)
class FirstUse:
    """Cost of recording, in seconds of the host, and counts, since the process began."""

    warming: float = 0.0
    """Seconds in calls before a recording: they do their work, but slower than replays."""
    recording: float = 0.0
    warmed: int = 0
    recorded: int = 0
    replayed: int = 0


@dataclass(frozen=True, slots=True)
class Key:
    """A function with its nets and optimizers, and the form of a call."""

    function: Callable[..., Any]
    owners: tuple[int, ...]
    """Numbers of its nets and optimizers."""
    form: Hashable = None
    """Recorder, structure, shapes, settings and modes; None: all of them."""


@dataclass(frozen=True, slots=True)
class _Structure:
    """A tree's form, hashed by its size, as some versions of torch have no hash for it."""

    tree: TreeSpec

    def __hash__(self) -> int:
        return hash((self.tree.num_nodes, self.tree.num_leaves))


@dataclass(frozen=True, slots=True)
class Failure:
    """Reason why a recording failed; not the error, whose frames would keep nets alive."""

    reason: str
    memory: bool = False
    """True where memory ran out: another time there may be enough."""
    drawn: bool = False
    """True where a global generator was drawn from: by another thread, and then not again."""


class Store:
    """Recordings of all functions, used by one thread at a time: a second one runs plainly."""

    def __init__(self) -> None:
        self.recordings: OrderedDict[Key, Recorded] = OrderedDict()
        self.calls: OrderedDict[Key, int] = OrderedDict()
        self.objections: Counter[Key] = Counter()
        self.moves: Counter[Key] = Counter()
        self.plain: set[Key] = set()
        """Functions, with their owners, that cannot be recorded."""
        self.said: set[tuple[Callable[..., Any], str]] = set()
        self.spent = FirstUse()
        self.lock = threading.RLock()
        self.busy = 0
        self.dead: deque[int] = deque()
        self.serials = Serials(self._died)

    def run(
        self, recorder: Recorder, function: Callable[..., Any], leaves: list[Any], tree: TreeSpec
    ) -> Any:
        """Replay the function, or run it: for the first times, and where it cannot be recorded."""
        if not self.lock.acquire(blocking=False):
            return _called(function, leaves, tree)
        self.busy += 1
        try:
            return self._run(recorder, function, leaves, tree)
        except torch.OutOfMemoryError:
            self.recordings = OrderedDict()
            raise
        finally:
            self.busy -= 1
            self._bury()
            self.lock.release()

    def forget(self, owner: Owner | None = None) -> None:
        """Drop all recordings that a net or an optimizer takes part in; None: all there are."""
        with self.lock:
            if owner is None:
                self.recordings = OrderedDict()
            elif (number := self.serials.find(owner)) is not None:
                self.dead.append(number)
                self._bury()

    def _run(
        self, recorder: Recorder, function: Callable[..., Any], leaves: list[Any], tree: TreeSpec
    ) -> Any:
        owners = [leaf for leaf in leaves if is_owner(leaf)]
        subject = Key(function, tuple(map(self.serials.of, owners)))
        if subject in self.plain:
            return _called(function, leaves, tree)
        held = Held(owners)
        form = (id(recorder), _Structure(tree), *map(_form, leaves), held.form, modes())
        key = replace(subject, form=form)
        objection = _objection(key, leaves)
        if objection:
            self._say(function, objection)
            return _called(function, leaves, tree)
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        found = self.recordings.get(key)
        if found is not None and found.fits(held):
            self.recordings.move_to_end(key)
            self.spent.replayed += 1
            return found(tensors)
        if found is not None:
            self._moved(subject)
            if subject in self.plain:
                return _called(function, leaves, tree)
        count = self._count(key)
        if count < 1:  # it rests
            return _called(function, leaves, tree)
        if count <= WARM:
            return self._warm(recorder, key, leaves, tree)
        made = self._record(recorder, key, leaves, tree)
        if isinstance(made, Recorded):
            return made(tensors)
        # An error of the function's own comes out of this call, and is no matter of recording.
        result = _called(function, leaves, tree)
        self._failed(key, made)
        return result

    def _warm(self, recorder: Recorder, key: Key, leaves: list[Any], tree: TreeSpec) -> Any:
        began = time.perf_counter()
        with as_recorded():
            result, objection = recorder.warm(lambda: _called(key.function, leaves, tree))
        self.spent.warming += time.perf_counter() - began
        self.spent.warmed += 1
        if objection:  # what happens once, as compiling does, is no objection
            self.calls[key] -= 1
            self.objections[key] += 1
            if self.objections[key] > WARM:
                self._give_up(key, objection)
        return result

    def _record(
        self, recorder: Recorder, key: Key, leaves: list[Any], tree: TreeSpec
    ) -> Recorded | Failure:
        """Record the call, if it can be."""
        began, owners = time.perf_counter(), [leaf for leaf in leaves if is_owner(leaf)]
        try:
            made = Recorded(
                recorder, lambda held: _called(key.function, held, tree), leaves, owners
            )
        except Exception as error:  # whatever recording raises: the plain call is as right
            log.debug("recording failed", exc_info=True)
            failure = _failure(error)
            if failure.memory:
                self.recordings = OrderedDict()
            return failure
        finally:
            self.spent.recording += time.perf_counter() - began
        self.spent.recorded += 1
        self.recordings[key] = made
        self._make_room(recorder.room)
        return made

    def _failed(self, key: Key, failure: Failure) -> None:
        if failure.memory or failure.drawn:
            self.calls[key] = -REST
            self._say(key.function, failure.reason)
        else:
            self._give_up(key, failure.reason)

    def _make_room(self, room: float) -> None:
        taken = sum(recorded.bytes for recorded in self.recordings.values())
        while len(self.recordings) > KEPT or (taken > room and len(self.recordings) > 1):
            taken -= self.recordings.popitem(last=False)[1].bytes

    def _count(self, key: Key) -> int:
        self.calls[key] = self.calls.pop(key, 0) + 1
        if len(self.calls) > COUNTED:
            self.calls.popitem(last=False)
        return self.calls[key]

    def _moved(self, subject: Key) -> None:
        """Drop what was recorded before weights, states or gradients came to lie elsewhere."""
        for key in [key for key in self.recordings if replace(key, form=None) == subject]:
            del self.recordings[key]
        self.moves[subject] += 1
        if self.moves[subject] > MOVES:
            self._give_up(subject, "its weights, states or gradients lie elsewhere ever again")

    def _give_up(self, key: Key, reason: str) -> None:
        self.plain.add(replace(key, form=None))
        log.info("%s runs unrecorded: %s", _name(key.function), reason)

    def _say(self, function: Callable[..., Any], reason: str) -> None:
        if (function, reason) not in self.said:
            self.said.add((function, reason))
            log.info("%s runs unrecorded: %s", _name(function), reason)

    def _died(self, number: int) -> None:
        """Note that an owner is gone: at any moment, as garbage is collected when Python likes."""
        self.dead.append(number)
        if self.lock.acquire(blocking=False):
            try:
                self._bury()
            finally:
                self.lock.release()

    def _bury(self) -> None:
        if self.busy:
            return  # what is iterated over must not change; whoever is busy does it at the end
        self.busy += 1
        try:
            while self.dead:
                self._drop(self.dead.popleft())
        finally:
            self.busy -= 1

    def _drop(self, number: int) -> None:
        for known in (self.recordings, self.calls, self.objections, self.moves):
            for key in [key for key in known if number in key.owners]:
                del known[key]
        self.plain = {key for key in self.plain if number not in key.owners}


def _called(function: Callable[..., Any], leaves: Sequence[Any], tree: TreeSpec) -> Any:
    args, kwargs = tree_unflatten(list(leaves), tree)
    return function(*args, **kwargs)


def _form(leaf: Any) -> Hashable:
    if isinstance(leaf, Tensor):
        return (leaf.shape, leaf.stride(), leaf.dtype, leaf.device)
    if is_owner(leaf):
        return (type(leaf),)
    # 1 equals True, 0.0 equals -0.0, and nan not even itself.
    return (type(leaf), leaf.hex() if isinstance(leaf, float) else leaf)


def _objection(key: Key, leaves: Sequence[Any]) -> str:
    """Why a call cannot be recorded, though others of the function may."""
    try:
        hash(key)
    except TypeError as error:
        return f"a setting cannot be told from others: {error}"
    closed = next(filter(None, map(unrecordable, filter(is_owner, leaves))), "")
    if closed:
        return f"what {closed} answers depends on more than tensors"
    grad = torch.is_grad_enabled()
    if grad and any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in leaves):
        return "an argument requires grad, which no recording passes on"
    return ""


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", repr(function))


def _failure(error: BaseException) -> Failure:
    """Find the cause: where a recording is broken off, its end raises too."""
    causes = [error]
    while (earlier := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(earlier)
    if any(isinstance(cause, torch.OutOfMemoryError) for cause in causes):
        return Failure("memory ran out; all recordings are dropped", memory=True)
    ours = (cause for cause in causes if isinstance(cause, UnrecordableError))
    cause = next(ours, causes[-1])
    lines = str(cause).strip().splitlines()
    reason = lines[0] if lines else type(cause).__name__
    return Failure(reason, drawn=isinstance(cause, DrawnError))
