"""Nets and optimizers as a recording sees them: tensors at fixed addresses, settings, modes."""

import weakref
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fftune.capture.python_state import Contents, Stream, global_streams, held_by
from fftune.capture.spec import DrawnError, UnrecordableError

Owner: TypeAlias = nn.Module | Optimizer
"""A net or an optimizer: it owns tensors that lie where they lie."""
_OF_TORCH = frozenset(vars(nn.Module()))
"""Attributes that every module has."""


class Serials:
    """Numbers of owners, never given twice: Python gives the address of a dead one again."""

    def __init__(self, died: Callable[[int], None]) -> None:
        self.died = died
        self.known: dict[int, tuple[weakref.ref[Owner], int]] = {}
        self.given = 0

    def find(self, owner: Owner) -> int | None:
        """Its number, if it has one."""
        known = self.known.get(id(owner))
        return known[1] if known is not None and known[0]() is owner else None

    def of(self, owner: Owner) -> int:
        """Its number; `died` is told of it when the owner is gone."""
        found = self.find(owner)
        if found is not None:
            return found
        self.given += 1
        number, address = self.given, id(owner)

        def gone(dead: weakref.ref[Owner]) -> None:
            if self.known.get(address, (None, 0))[0] is dead:
                del self.known[address]
            self.died(number)

        self.known[address] = (weakref.ref(owner, gone), number)
        return number


class Held:
    """Tensors and modes of owners at one moment, which is taken at every call.

    A net is walked through its dictionaries: `parameters()` and its like take six times as long.
    """

    def __init__(self, owners: Sequence[Owner]) -> None:
        self.tensors: list[Tensor] = []
        """Weights, buffers, states and settings that are tensors."""
        self.parameters: list[Tensor] = []
        self.steps = False
        """True where an optimizer is among the owners: it reads gradients."""
        form: list[Hashable] = []
        for owner in owners:
            if isinstance(owner, nn.Module):
                self._net(owner, form)
            else:
                self.steps = True
                self._optimizer(owner, form)
        self.gradients = [p.grad for p in self.parameters]
        form.extend(grad is None for grad in self.gradients)
        self.form: Hashable = tuple(form)
        """All that is no tensor and changes what a function does: modes, settings."""

    def _net(self, net: nn.Module, form: list[Hashable]) -> None:
        for module in _modules(net):
            form.append(module.training)
            for weight in module._parameters.values():
                if weight is not None:
                    self.tensors.append(weight)
                    self.parameters.append(weight)
                    form.append(weight.requires_grad)
            self.tensors.extend(b for b in module._buffers.values() if b is not None)

    def _optimizer(self, optimizer: Optimizer, form: list[Hashable]) -> None:
        for group in optimizer.param_groups:
            for name, value in group.items():
                if isinstance(value, Tensor):
                    self.tensors.append(value)
                elif name != "params":
                    form.append((name, repr(value)))
            self.tensors.extend(group["params"])
            self.parameters.extend(group["params"])
        for state in optimizer.state.values():
            self.tensors.extend(v for v in state.values() if isinstance(v, Tensor))

    def addresses(self) -> tuple[int, ...]:
        """Addresses of its tensors, but for gradients."""
        return tuple([tensor.data_ptr() for tensor in self.tensors])


class Before:
    """State of owners before a recording, which runs their Python but none of their kernels."""

    def __init__(self, owners: Sequence[Owner]) -> None:
        self.owners = owners
        self.held = Held(owners)
        self.own = [Contents(dictionary) for dictionary in _dictionaries(owners)]
        self.inside = [
            (name, inside) for name, value in _extras(owners) for inside in held_by(value)
        ]
        self.streams = global_streams()
        self.versions = [None if g is None else g._version for g in self.held.gradients]

    def check(self) -> None:
        """Compare with what the recording left.

        Raises:
            UnrecordableError: it made a tensor anew that must stay where it is, or changed what
                is no tensor.
        """
        for contents in self.own:
            changed = contents.changed()
            if changed:
                name = changed[0] if isinstance(changed[0], str) else "the state of a weight"
                raise UnrecordableError(f"it makes {name} of its net or optimizer anew")
        held = [inside for _, inside in self.inside]
        if any(stream.changed() for stream in (*self.streams, *held) if isinstance(stream, Stream)):
            raise DrawnError("it draws from a random generator of Python or NumPy")
        for name, inside in self.inside:
            if inside.changed():
                raise UnrecordableError(f"it changes what {name} of its net holds")

    def put_back(self) -> None:
        """Undo what the recording did in Python, where it failed."""
        inside = (state for _, state in self.inside)
        for state in (*self.own, *inside, *self.streams):
            state.put_back()
        for weight, grad in zip(self.held.parameters, self.held.gradients, strict=True):
            weight.grad = grad

    def accumulated(self) -> bool:
        """True where the recording added to a gradient in place, or an optimizer may read one."""
        pairs = zip(self.held.gradients, self.versions, strict=True)
        return self.held.steps or any(g is not None and g._version != v for g, v in pairs)


def is_owner(leaf: Any) -> bool:
    """True for nets and optimizers."""
    return isinstance(leaf, nn.Module | Optimizer)


def unrecordable(owner: Owner) -> str:
    """Name of a class, of a net or of a part of it, whose answers depend on more than tensors.

    The class says so: `recordable = False`. "" if none does.
    """
    types = map(type, _modules(owner)) if isinstance(owner, nn.Module) else ()
    return next((kind.__name__ for kind in types if not getattr(kind, "recordable", True)), "")


def modes() -> Hashable:
    """All settings of torch that change what a function computes or how it may be used."""
    cudnn: Any = torch.backends.cudnn
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        *((torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in ("cuda", "cpu")),
        torch.get_default_dtype(),
        torch.are_deterministic_algorithms_enabled(),
        (cudnn.enabled, cudnn.benchmark, cudnn.deterministic),
        # The older names raise once someone has used these.
        *(kind.fp32_precision for kind in (torch.backends.cuda.matmul, cudnn, cudnn.conv)),
    )


def _modules(net: nn.Module) -> Iterator[nn.Module]:
    ahead: list[nn.Module | None] = [net]
    while ahead:
        module = ahead.pop()
        if module is not None:
            yield module
            ahead.extend(module._modules.values())


def _dictionaries(owners: Sequence[Owner]) -> Iterator[dict[Any, Any]]:
    for owner in owners:
        if isinstance(owner, nn.Module):
            for module in _modules(owner):
                yield from (module.__dict__, module._parameters, module._buffers)
        else:
            yield owner.state
            yield from owner.state.values()
            yield from owner.param_groups


def _extras(owners: Sequence[Owner]) -> Iterator[tuple[str, Any]]:
    """Attributes of nets that torch knows nothing of, by name."""
    for owner in owners:
        for module in _modules(owner) if isinstance(owner, nn.Module) else ():
            for name, value in vars(module).items():
                if name not in _OF_TORCH:
                    yield name, value
