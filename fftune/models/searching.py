"""The copy of a net that searches may ask instead: frozen, BatchNorm folded, perhaps in bf16.

What it finds counts for nothing until the untouched net confirms it.
"""

import copy
import logging

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fftune.config import Precision
from fftune.models.linf_dist import LinfDist

log = logging.getLogger(__name__)

UNTRACEABLE = (fx.proxy.TraceError, AttributeError, NotImplementedError, RuntimeError, TypeError)
"""What tracing raises for nets whose way depends on their input."""


def search_copy(model: nn.Module, precision: Precision) -> nn.Module:
    """A frozen copy in eval mode, without BatchNorms where they follow convolutions.

    A net of distances stays in fp32: bf16 has no use for it, nor has its certificate for bf16.
    """
    frozen = copy.deepcopy(model).eval().requires_grad_(False)
    device = next((p.device.type for p in model.parameters()), "cpu")
    half = precision == "bf16" or (precision == "auto" and has_bf16(device))
    half = half and not any(isinstance(module, LinfDist) for module in frozen.modules())
    return Converted(folded(frozen), torch.bfloat16 if half else None)


def folded(model: nn.Module) -> nn.Module:
    """`model` with each BatchNorm inside the convolution before it, or `model` itself.

    Only where the convolution's output goes nowhere else.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        return model
    try:
        traced = fx.symbolic_trace(model)
    except UNTRACEABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        log.info("BatchNorm is not folded: the net cannot be traced (%s)", reason)
        return model
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        before = node.args[0] if node.args else None
        norm, conv = _module(modules, node), _module(modules, before)
        if not (isinstance(norm, nn.BatchNorm2d) and isinstance(conv, nn.Conv2d)):
            continue
        assert isinstance(before, fx.Node)
        if len(before.users) > 1 or norm.running_mean is None:
            continue
        traced.set_submodule(str(before.target), fuse_conv_bn_eval(conv, norm))
        node.replace_all_uses_with(before)
        traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def has_bf16(device: str) -> bool:
    """Whether the hardware multiplies bf16 itself; elsewhere it would only be slower."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


class Converted(nn.Module):
    """A net with channels last, which convolves a third faster on a CPU, and of another type.

    Inputs and logits keep their own type; none leaves the net's as it is.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.dtype = dtype
        self.model = model.to(memory_format=torch.channels_last)
        if dtype is not None:
            self.model = self.model.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        inner = x.to(dtype=self.dtype or x.dtype, memory_format=torch.channels_last)
        logits: Tensor = self.model(inner)
        return logits.to(x.dtype)


def _module(modules: dict[str, nn.Module], node: object) -> nn.Module | None:
    if not isinstance(node, fx.Node) or node.op != "call_module":
        return None
    return modules.get(str(node.target))
