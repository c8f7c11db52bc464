"""One recording of a function, with the tensors at its fixed addresses."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from fftune.capture.owners import Before, Held, Owner
from fftune.capture.spec import Recorder, UnrecordableError

_under_way = False
_as_recorded = False


def recording() -> bool:
    """True while a function is recorded: no value may be read on the host."""
    return _under_way


def unseen() -> bool:
    """True while a function is recorded, or run as it will be: who looks at a value on the host
    where he could do without keeps it from ever being recorded.
    """
    return _under_way or _as_recorded


@contextmanager
def as_recorded() -> Iterator[None]:
    """Run what is called inside as it will be recorded; see `unseen`."""
    global _as_recorded
    before, _as_recorded = _as_recorded, True
    try:
        yield
    finally:
        _as_recorded = before


class Recorded:
    """A function that was recorded at one shape: inputs are copied in, outputs copied out.

    Gradients that it made anew are copied out too, so that what another recording keeps in the
    same memory cannot reach them.

    Raises:
        Exception: it cannot be recorded; owners and their tensors are as they were.
    """

    def __init__(
        self,
        recorder: Recorder,
        call: Callable[[Sequence[Any]], Any],
        leaves: Sequence[Any],
        owners: Sequence[Owner],
    ) -> None:
        leaves = [leaf.detach().clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.inputs = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        before = Before(owners)
        try:
            result = self._record(recorder, lambda: call(leaves), before)
        except BaseException:
            before.put_back()
            raise
        self.outputs, self.tree = tree_flatten(result)
        self.places = [at for at, out in enumerate(self.outputs) if isinstance(out, Tensor)]
        self.tensors = [self.outputs[at].detach() for at in self.places]
        for at in self.places:
            self.outputs[at] = None
        self.held = [tensor.detach() for tensor in before.held.tensors]
        """Kept alive: nothing else may come to lie at the addresses of weights that moved."""
        self.addresses = before.held.addresses()
        self._gradients(before)
        own = (*self.inputs, *self.tensors, *self.made)
        self.bytes = self.recorded.bytes + sum(tensor.nbytes for tensor in own)

    def _record(self, recorder: Recorder, call: Callable[[], Any], before: Before) -> Any:
        global _under_way
        held = before.held
        persistent = [*held.tensors, *(g for g in held.gradients if g is not None)]
        devices = {tensor.device for tensor in (*self.inputs, *persistent)}
        if len(devices) > 1:
            raise UnrecordableError(f"its tensors lie on {' and '.join(sorted(map(str, devices)))}")
        versions = [tensor._version for tensor in self.inputs]

        def checked() -> Any:
            result = call()
            if versions != [tensor._version for tensor in self.inputs]:
                raise UnrecordableError("it changes an argument in place")
            _check_outputs(tree_flatten(result)[0], devices)
            before.check()
            return result

        # Casts of weights that autocast remembers are gone when its context ends.
        torch.clear_autocast_cache()
        _under_way = True
        try:
            self.recorded, result = recorder.record(checked, persistent, self.inputs)
        finally:
            _under_way = False
            torch.clear_autocast_cache()
        return result

    def _gradients(self, before: Before) -> None:
        """Tell gradients that it added to, at their addresses, from those that it made anew."""
        self.assigned: list[tuple[Tensor, Tensor | None]] = []
        """Weights whose gradients it makes anew, or drops, with where a caller finds them."""
        self.made: list[Tensor] = []
        self.fixed: list[tuple[int, int]] = []
        """Gradients that must lie where they lay: their place among all, and address."""
        pairs, seen = zip(before.held.parameters, before.held.gradients, strict=True), set[int]()
        reads = before.accumulated()
        for at, (weight, was) in enumerate(pairs):
            if id(weight) in seen:
                continue
            seen.add(id(weight))
            now = weight.grad
            if now is not was:
                if now is not None:
                    self.made.append(now.detach())
                    weight.grad = torch.empty_like(now)
                self.assigned.append((weight, weight.grad))
            elif now is not None and reads:
                self.fixed.append((at, now.data_ptr()))

    def fits(self, held: Held) -> bool:
        """True where weights, states and gradients lie at the addresses that it reads."""
        if self.addresses != held.addresses():
            return False
        gradients = ((held.gradients[at], address) for at, address in self.fixed)
        return all(g is not None and g.data_ptr() == address for g, address in gradients)

    def __call__(self, tensors: Sequence[Tensor]) -> Any:
        """Replay it with these inputs, of the shapes that it was recorded with."""
        with torch.no_grad():
            _copy(self.inputs, tensors)
            self.recorded.replay()
            copies = [torch.empty_like(tensor) for tensor in self.tensors]
            _copy(copies, self.tensors)
            _copy([grad for _, grad in self.assigned if grad is not None], self.made)
        for weight, grad in self.assigned:
            weight.grad = grad
        leaves = list(self.outputs)
        for at, copy in zip(self.places, copies, strict=True):
            leaves[at] = copy
        return tree_unflatten(leaves, self.tree)


def _check_outputs(leaves: Sequence[Any], devices: set[torch.device]) -> None:
    for out in leaves:
        if isinstance(out, Tensor) and out.requires_grad:
            raise UnrecordableError("it returns a tensor that requires grad: detach it")
        if isinstance(out, Tensor) and devices and out.device not in devices:
            raise UnrecordableError(f"it returns a tensor on {out.device}")


def _copy(to: Sequence[Tensor], of: Sequence[Tensor]) -> None:
    """Copy all, with one kernel for each dtype: a list of several is copied one by one."""
    kinds: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for own, new in zip(to, of, strict=True):
        mine, theirs = kinds.setdefault(own.dtype, ([], []))
        mine.append(own)
        theirs.append(new)
    for mine, theirs in kinds.values():
        torch._foreach_copy_(mine, theirs)
