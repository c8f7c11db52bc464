"""The copy of a net that searches ask instead: frozen, BatchNorm folded, perhaps in bf16.

It computes the same function in fewer steps. What it finds counts for nothing until the untouched
net confirms it.
"""

import copy
import logging

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fftune.config import Precision
from fftune.models.linf_dist import LinfDist

log = logging.getLogger(__name__)

SAME = 1e-3
"""By how much of the largest logit a folded net may answer otherwise."""

UNTRACEABLE = (fx.proxy.TraceError, AttributeError, NotImplementedError, RuntimeError, TypeError)
"""What tracing raises for nets whose way depends on their input, and nets for other images."""


def search_copy(model: nn.Module, precision: Precision, x: Tensor) -> nn.Module:
    """A frozen copy in eval mode, without BatchNorms where they follow convolutions.

    Args:
        x: (B, C, H, W) images, on which a net without BatchNorms must answer as before.
    """
    frozen = copy.deepcopy(model).eval().requires_grad_(False)
    dtype = torch.bfloat16 if takes_bf16(model, precision) else None
    return Converted(folded(frozen, x), dtype, channels_last=x.device.type == "cpu" or bool(dtype))


def takes_bf16(model: nn.Module, precision: Precision) -> bool:
    """Whether a net's copy is to be in bf16.

    A net of distances stays in fp32: bf16 has no use for it, nor has its certificate for bf16.
    """
    device = next((p.device.type for p in model.parameters()), "cpu")
    half = precision == "bf16" or (precision == "auto" and has_bf16(device))
    return half and not any(isinstance(module, LinfDist) for module in model.modules())


def folded(model: nn.Module, x: Tensor) -> nn.Module:
    """`model` with each BatchNorm inside the convolution before it, or `model` itself.

    Only where the convolution's output goes nowhere else, and the answers on images stay: those
    of a net that draws at random, or is not the same at every call, do not.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        return model
    try:
        traced = _without_norms(model)
        with torch.no_grad():
            before, after = model(x), traced(x)
        close = torch.allclose(before, after, rtol=SAME, atol=SAME * float(before.abs().max()))
        reason = "the folded net answers otherwise"
    except UNTRACEABLE as error:
        close, reason = False, str(error).partition("\n")[0] or type(error).__name__
    if not close:
        log.info("BatchNorm is not folded: %s", reason)
    return traced if close else model


def _without_norms(model: nn.Module) -> fx.GraphModule:
    traced = fx.symbolic_trace(model)
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
    """A net of another type, or with channels last, which convolves a third faster on a CPU.

    Inputs and logits keep their own type; none leaves the net's as it is.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype | None, *, channels_last: bool) -> None:
        super().__init__()
        self.dtype = dtype
        self.format = torch.channels_last if channels_last else torch.preserve_format
        self.model = model.to(memory_format=self.format)
        if dtype is not None:
            self.model = self.model.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        inner = x.to(dtype=self.dtype or x.dtype, memory_format=self.format)
        logits: Tensor = self.model(inner)
        return logits.to(x.dtype)


def _module(modules: dict[str, nn.Module], node: object) -> nn.Module | None:
    if not isinstance(node, fx.Node) or node.op != "call_module":
        return None
    return modules.get(str(node.target))
