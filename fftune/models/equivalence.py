"""Two nets compared on a few images: their logits, and the gradients that searches follow."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Largest difference of two nets that count as the same function."""

    logits: float
    """Tolerance of logits, relative to the largest distance between two logits of one image."""
    slopes: float
    """Tolerance of gradients, relative to the gradient's norm. Rounding may turn a ReLU or two,
    which moves some entries by a lot and the norm of the whole by little; a gradient that went
    another way is off by the whole of its norm."""


# The most that was seen on 13 nets, real and our own, 108 batches: folding and channels last in
# float32 1e-6 and 1e-2, bf16 7e-3 and .52. A gradient that is lost is off by 1.
FP32 = Tolerance(logits=1e-3, slopes=0.1)
TF32 = Tolerance(logits=1e-2, slopes=0.2)
BF16 = Tolerance(logits=5e-2, slopes=0.9)
ROUNDED = 1e-5
"""Additional tolerance, relative to the largest logit: an offset costs float32 digits."""


def tolerance(x: Tensor) -> Tolerance:
    """Tolerance for a float32 net: CUDA's convolutions round to TF32."""
    return TF32 if x.device.type == "cuda" else FP32


@dataclass(frozen=True, slots=True)
class Answers:
    """A net's answers to one batch."""

    quiet: Tensor
    """(B, K) logits without gradients, as verdicts ask for them."""
    logits: Tensor
    """(B, K) logits on the way to a gradient."""
    slopes: Tensor | None
    """(B, C, H, W), the gradient of a fixed sum of logits; None where autograd knows no way."""


def batches(x: Tensor) -> Iterator[Tensor]:
    """The first image, the first two, and all: searches drop what is decided, down to one."""
    for size in sorted({min(size, len(x)) for size in (1, 2, len(x))}):
        yield x[:size]


def answers(net: nn.Module, x: Tensor) -> list[Answers]:
    """A net's answers to (B, C, H, W) images at every size of batch that `batches` takes."""
    return [_answers(net, few) for few in batches(x)]


def _answers(net: nn.Module, x: Tensor) -> Answers:
    with torch.no_grad():
        quiet: Tensor = net(x.clone())
    with torch.enable_grad():
        leaf = x.clone().requires_grad_(True)
        logits: Tensor = net(leaf)
        if not logits.requires_grad:
            return Answers(quiet, logits, None)
        # All classes count, none as much as another: softmax outputs, too, have a slope then.
        weights = torch.arange(1, logits.shape[-1] + 1, device=logits.device).cos()
        (slopes,) = torch.autograd.grad((logits * weights).sum(), leaf, allow_unused=True)
    return Answers(quiet, logits.detach(), slopes)


def difference(
    net: nn.Module, known: Sequence[Answers], x: Tensor, within: Tolerance | None = None
) -> str:
    """A few words on how a net differs from the one whose answers are known; empty if it does not.

    A nan or an infinity must be met by the same.
    """
    within = within or tolerance(x)
    try:
        found = answers(net, x)
    except Exception as error:  # whatever the user's code raises
        log.debug("asking a copy failed", exc_info=True)
        return f"it fails: {first_line(error)}"
    for one, other in zip(known, found, strict=True):
        size = f"on {len(one.quiet)} image{'s' * (len(one.quiet) > 1)}"
        if not (
            _same_logits(one.quiet, other.quiet, within.logits)
            and _same_logits(one.logits, other.logits, within.logits)
        ):
            return f"its logits differ {size}"
        if not _same_slopes(one.slopes, other.slopes, within.slopes):
            return f"its gradients differ {size}"
    return ""


def first_line(error: BaseException) -> str:
    """An error's message as far as the first end of a line, or its kind."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _same_logits(one: Tensor, other: Tensor, within: float) -> bool:
    pair = _finite(one, other)
    if pair is None:
        return False
    if not one.numel():
        return True
    known, found = pair
    spread = float((known.amax(-1) - known.amin(-1)).max())
    reach = within * spread + ROUNDED * float(known.abs().max())
    return float((known - found).abs().max()) <= reach


def _same_slopes(one: Tensor | None, other: Tensor | None, within: float) -> bool:
    if one is None or other is None:
        return one is other
    pair = _finite(one, other)
    return pair is not None and bool((pair[0] - pair[1]).norm() <= within * pair[0].norm())


def _finite(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor] | None:
    """Both in float64, without what is not finite in both; None where they differ in that."""
    if one.shape != other.shape:
        return None
    one, other = one.double(), other.double()
    odd = ~one.isfinite()
    if not torch.equal(odd, ~other.isfinite()):
        return None
    if not torch.equal(one[odd].nan_to_num(), other[odd].nan_to_num()):
        return None
    return one.masked_fill(odd, 0), other.masked_fill(odd, 0)
