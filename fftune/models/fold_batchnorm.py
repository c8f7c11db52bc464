"""Nets with each BatchNorm inside the convolution before it: the same function in fewer steps."""

import copy
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fftune.capture import captured
from fftune.models.equivalence import answers, difference, first_line

log = logging.getLogger(__name__)


class Folded:
    """A frozen copy of a net in eval mode, without the BatchNorms that follow a convolution.

    It stays as it is while the net trains on; see `refresh`.
    """

    def __init__(self, source: nn.Module) -> None:
        """
        Raises:
            Exception: whatever tracing does, where the net's way cannot be written down.
        """
        self.net = fx.symbolic_trace(copy.deepcopy(source).eval().requires_grad_(False))
        norms: list[tuple[str, str]] = []
        modules = dict(self.net.named_modules())
        for node, before in _foldable(self.net.graph, modules):
            conv, norm = modules[str(before.target)], modules[str(node.target)]
            assert isinstance(conv, nn.Conv2d)
            fused = fuse_conv_bn_eval(conv, norm)
            self.net.set_submodule(str(before.target), fused)
            norms.append((str(before.target), str(node.target)))
            node.replace_all_uses_with(before)
            self.net.graph.erase_node(node)
        self.net.delete_all_unused_submodules()
        self.net.recompile()
        self.norms = tuple(norms)
        """Each convolution and the BatchNorm that it has taken in, by their names."""


@captured
def refresh(copied: nn.Module, source: nn.Module, norms: tuple[tuple[str, str], ...]) -> None:
    """Take over into a copy, of whatever type, what the net that it was made of has become.

    Args:
        norms: each convolution of the copy that has taken in a BatchNorm, and that, by their
            names in `source`.
    """
    with torch.no_grad():
        kept, live = _state(copied), _state(source)
        new = _fused(dict(source.named_modules(remove_duplicate=False)), norms)
        new |= {name: live[name] for name in kept if name not in new}
        kinds: dict[tuple[torch.dtype, torch.dtype], list[str]] = {}
        for name, tensor in kept.items():
            kinds.setdefault((tensor.dtype, new[name].dtype), []).append(name)
        for names in kinds.values():  # of equal types, they are copied in one launch
            torch._foreach_copy_([kept[name] for name in names], [new[name] for name in names])


def fold(model: nn.Module, x: Tensor) -> Folded | None:
    """A folded copy; None where there is nothing to fold, or the copy would not be faithful.

    A net that draws at random, or is another one at every call, answers otherwise than what was
    written down of it.

    Args:
        model: in eval mode.
        x: (B, C, H, W), on which both are asked.
    """
    if not has_norms(model):
        return None
    try:
        found = Folded(model)
        reason = difference(found.net, answers(model, x), x)
    except Exception as error:  # whatever the user's code raises: who asks the net will hear it
        log.debug("folding failed", exc_info=True)
        found, reason = None, first_line(error)
    if reason:
        log.info("BatchNorm is not folded: %s", reason)
        return None
    return found


def has_norms(model: nn.Module) -> bool:
    """True if there is any BatchNorm in a net."""
    return any(isinstance(module, _BatchNorm) for module in model.modules())


def _foldable(graph: fx.Graph, modules: dict[str, nn.Module]) -> Iterator[tuple[fx.Node, fx.Node]]:
    """Each BatchNorm with the convolution before it, whose output goes nowhere else."""
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    for node in list(graph.nodes):
        before = node.args[0] if node.args else None
        if not isinstance(before, fx.Node) or {node.op, before.op} != {"call_module"}:
            continue
        names = str(before.target), str(node.target)
        conv, norm = (modules[name] for name in names)
        alone = len(before.users) == 1 and all(calls[name] == 1 for name in names)
        if alone and _is_plain(conv, nn.Conv2d) and _is_settled(norm):
            yield node, before


def _is_settled(norm: nn.Module) -> bool:
    """True for a BatchNorm that uses running statistics in eval mode, not those of the batch."""
    if not isinstance(norm, _BatchNorm) or norm.running_mean is None:
        return False
    return _is_plain(norm, nn.BatchNorm2d) or _is_plain(norm, nn.SyncBatchNorm)


def _is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """True for a module of this very class, with neither hooks nor parametrised weights.

    Those would make its weights anew at every call, or change what comes out.
    """
    return type(module) is kind and not (module._forward_pre_hooks or module._forward_hooks)


def _fused(modules: Mapping[str, nn.Module], norms: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """Weights and biases of convolutions with their BatchNorms, by the names in a folded copy.

    The operations are those of `torch.nn.utils.fusion`, in its order, each on all layers at once.
    """
    if not norms:
        return {}
    weights, plain = zip(*(_weights(modules[conv]) for conv, _ in norms), strict=True)
    means, variances, scales, shifts = zip(
        *(_norm(modules[norm]) for _, norm in norms), strict=True
    )
    rsqrts = torch._foreach_rsqrt(variances)
    factors = torch._foreach_mul(scales, rsqrts)
    fused = torch._foreach_mul(weights, [factor[:, None, None, None] for factor in factors])
    around = torch._foreach_sub(plain, means)
    biases = torch._foreach_add(
        torch._foreach_mul(torch._foreach_mul(around, rsqrts), scales), shifts
    )
    named = zip(norms, fused, biases, strict=True)
    return {
        f"{conv}.{part}": value
        for (conv, _), weight, bias in named
        for part, value in (("weight", weight), ("bias", bias))
    }


def _weights(conv: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution."""
    assert isinstance(conv, nn.Conv2d)
    weight = conv.weight
    return weight, weight.new_zeros(len(weight)) if conv.bias is None else conv.bias


def _norm(norm: nn.Module) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean, variance + eps, scale and shift of a BatchNorm, (C,) each."""
    assert isinstance(norm, _BatchNorm)
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None and var is not None
    scale = torch.ones_like(mean) if norm.weight is None else norm.weight
    shift = torch.zeros_like(mean) if norm.bias is None else norm.bias
    return mean, var + norm.eps, scale, shift


def _state(net: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, shared ones under each of theirs."""
    return {
        **dict(net.named_parameters(remove_duplicate=False)),
        **dict(net.named_buffers(remove_duplicate=False)),
    }
