"""Nets with each BatchNorm inside the convolution before it: the same function in fewer steps."""

import copy
import logging
from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_conv_bn_weights

from fftune.models.equivalence import answers, difference, first_line

log = logging.getLogger(__name__)


class Folded:
    """A frozen copy of a net in eval mode, without the BatchNorms that follow a convolution.

    It stays as it is while the net trains on, until `refresh`.
    """

    def __init__(self, source: nn.Module) -> None:
        """
        Raises:
            Exception: whatever tracing does, where the net's way cannot be written down.
        """
        self.source = source
        self.net = fx.symbolic_trace(copy.deepcopy(source).eval().requires_grad_(False))
        self.norms: dict[str, str] = {}
        """The BatchNorm that each convolution has taken in, by their names."""
        modules = dict(self.net.named_modules())
        for node, before in _foldable(self.net.graph, modules):
            conv, norm = modules[str(before.target)], modules[str(node.target)]
            assert isinstance(conv, nn.Conv2d)
            fused = fuse_conv_bn_eval(conv, norm)
            self.net.set_submodule(str(before.target), fused)
            self.norms[str(before.target)] = str(node.target)
            node.replace_all_uses_with(before)
            self.net.graph.erase_node(node)
        self.net.delete_all_unused_submodules()
        self.net.recompile()

    @torch.no_grad()
    def refresh(self) -> None:
        """Take over what the net has become."""
        modules = dict(self.source.named_modules(remove_duplicate=False))
        for name, norm in self.norms.items():
            fused, source = self.net.get_submodule(name), modules[name]
            for own, new in zip(fused.parameters(), _fused(source, modules[norm]), strict=True):
                own.copy_(new)
        live = _state(self.source)
        for name, kept in _state(self.net).items():
            if name.rpartition(".")[0] not in self.norms:
                kept.copy_(live[name])


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


def _fused(conv: nn.Module, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of both in one."""
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, _BatchNorm)
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None and var is not None
    return fuse_conv_bn_weights(conv.weight, conv.bias, mean, var, norm.eps, norm.weight, norm.bias)


def _state(net: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, shared ones under each of theirs."""
    return {
        **dict(net.named_parameters(remove_duplicate=False)),
        **dict(net.named_buffers(remove_duplicate=False)),
    }
