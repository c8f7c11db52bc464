"""The copy of a net that searches ask instead: frozen, BatchNorm folded, perhaps in bf16.

It computes the same function in fewer steps. What it finds counts for nothing until the untouched
net confirms it.
"""

import copy

import torch
from torch import Tensor, nn

from fftune.config import Precision
from fftune.models.folding import fold
from fftune.models.linf_dist import LinfDist


def search_copy(model: nn.Module, precision: Precision, x: Tensor) -> nn.Module:
    """A frozen copy in eval mode, without BatchNorms where they follow convolutions.

    Args:
        x: (B, C, H, W) images, on which a net without BatchNorms must answer as before.
    """
    frozen = copy.deepcopy(model).eval().requires_grad_(False)
    folded = fold(frozen, x)
    dtype = torch.bfloat16 if takes_bf16(model, precision) else None
    return Converted(
        folded.net if folded else frozen,
        dtype,
        channels_last=x.device.type == "cpu" or dtype is not None,
    )


def takes_bf16(model: nn.Module, precision: Precision) -> bool:
    """Whether a net's copy is to be in bf16.

    A net of distances stays in fp32: bf16 has no use for it, nor has its certificate for bf16.
    """
    device = next((p.device.type for p in model.parameters()), "cpu")
    half = precision == "bf16" or (precision == "auto" and has_bf16(device))
    return half and not any(isinstance(module, LinfDist) for module in model.modules())


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
