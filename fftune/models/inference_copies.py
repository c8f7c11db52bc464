"""The copy of a net that searches ask instead: frozen, BatchNorm folded, perhaps in bf16.

It computes the same function in fewer steps. What it finds counts for nothing until the untouched
net confirms it. Where a copy is not the same function, a plainer one takes its place.
"""

import copy
import itertools
import logging
import weakref
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fftune.config import Precision
from fftune.models.adapter import Adapted
from fftune.models.contexts import eval_mode, freeze, frozen
from fftune.models.equivalence import BF16, Answers, answers, difference, first_line, tolerance
from fftune.models.fold_batchnorm import Folded, has_norms
from fftune.models.linf_dist import LinfDist

log = logging.getLogger(__name__)

_LOGGED: weakref.WeakSet[nn.Module] = weakref.WeakSet()
"""Nets whose plainer copy was logged already."""


def inference_copy(model: nn.Module, precision: Precision, x: Tensor) -> nn.Module:
    """The fastest frozen copy in eval mode that answers as the net does; see `equivalence`.

    A net that cannot be compared, since it answers by chance or refuses the images, has the
    plainest copy. One that cannot be copied, or only wrongly, is itself what searches ask: it is
    the caller who then holds it in eval mode and frozen.

    Args:
        x: (B, C, H, W) images, on which both are asked; see `equivalence.batches`.
    """
    with eval_mode(model), frozen(model):
        try:
            known = answers(model, x)
        except Exception:  # whatever the user's code raises: who asks the net will hear it
            log.debug("the net cannot be asked", exc_info=True)
            return _plain_copy(model)
        # Frozen and asked before, weights that are made anew at every call can be copied.
        return _first_alike(model, known, x, half=takes_bf16(model, precision))


def _first_alike(model: nn.Module, known: list[Answers], x: Tensor, *, half: bool) -> nn.Module:
    refused, reason = "", ""
    for form in _forms(model, x, half=half):
        try:
            copied = form.of(model)
            reason = difference(copied, known, x, BF16 if form.dtype else tolerance(x))
        except Exception as error:  # whatever copying and tracing raise
            log.debug("%s failed", form, exc_info=True)
            reason = first_line(error)
        if not reason:
            _log_once(model, f"a plainer copy of the net, {form}", refused)
            return copied
        refused = refused or reason
    if difference(model, known, x):  # by chance: no copy can be held to what it said
        _log_once(model, "a plain copy of the net, which does not answer alike twice", refused)
        return _plain_copy(model)
    _log_once(model, "the net itself, as no copy will do", reason)
    return model


def _plain_copy(model: nn.Module) -> nn.Module:
    """A frozen copy in eval mode, or the net itself where it cannot be copied."""
    try:
        return freeze(copy.deepcopy(model).eval())
    except Exception:  # whatever copying raises
        log.debug("copying failed", exc_info=True)
        return model


def _log_once(model: nn.Module, asked: str, reason: str) -> None:
    if reason and model not in _LOGGED:
        _LOGGED.add(model)
        log.info("searches ask %s: %s", asked, reason)


@dataclass(frozen=True, slots=True)
class _Form:
    """A way to copy a net."""

    dtype: torch.dtype | None
    folded: bool
    channels_last: bool

    def of(self, model: nn.Module) -> nn.Module:
        source = _undressed(model)
        if self.folded:
            net: nn.Module = Folded(source).net
        else:
            net = freeze(copy.deepcopy(source).eval())
        return Converted(net, self.dtype, channels_last=self.channels_last)

    def __str__(self) -> str:
        folded = "BatchNorm folded" if self.folded else "nothing folded"
        last = "channels last" if self.channels_last else "contiguous"
        return f"{folded}, {last}, {'bf16' if self.dtype else 'fp32'}"


def _forms(model: nn.Module, x: Tensor, *, half: bool) -> Iterator[_Form]:
    """The fastest first; the plain copy is the last."""
    folded = (True, False) if has_norms(model) else (False,)
    for dtype in (torch.bfloat16, None) if half else (None,):
        last = (True, False) if x.device.type == "cpu" or dtype is not None else (False,)
        for pair in itertools.product(folded, last):
            yield _Form(dtype, *pair)


def _undressed(model: nn.Module) -> nn.Module:
    """The net inside what compiles it or spreads it over devices."""
    if isinstance(model, Adapted):
        return model.around(_undressed(model.net))
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return _undressed(model.module)
    compiled = model._modules.get("_orig_mod")
    return model if compiled is None else _undressed(compiled)


def takes_bf16(model: nn.Module, precision: Precision) -> bool:
    """True if a net's copy is to be in bf16.

    A net of distances stays in fp32: bf16 has no use for it, nor has its certificate for bf16.
    """
    device = next((p.device.type for p in model.parameters()), "cpu")
    half = precision == "bf16" or (precision == "auto" and has_bf16(device))
    return half and not any(isinstance(module, LinfDist) for module in model.modules())


def has_bf16(device: str) -> bool:
    """True if the hardware multiplies bf16 itself; elsewhere bf16 is only slower."""
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
