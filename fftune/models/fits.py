"""Two questions to any net: does it fit the images and their classes, and has it gradients?

Every part of the package that takes a net asks them here, so that a net is refused in the same
words wherever it comes in.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from fftune.errors import ModelError, UnscorableError
from fftune.models.equivalence import first_line

BATCHES = (1, 32, 64, 128, 256)
"""Sizes of batches that are tried to tell a net of one size from a net of other images."""


def logits_of(
    net: Callable[[Tensor], Tensor],
    x: Tensor,
    classes: int,
    *,
    name: str = "net",
    data: str = "the data set",
) -> Tensor:
    """(B, K) logits of (B, C, H, W) images, without gradients.

    Args:
        classes: K.
        name: of the net, in messages.
        data: name of the data set, in messages.

    Raises:
        ModelError: the output is not (B, K), or not of real numbers, or holds a nan or an infinity
            (`UnscorableError`).
    """
    with torch.no_grad():
        logits = net(x)
    require_real(logits, name)
    expected = (len(x), classes)
    if logits.dim() == 2 and len(logits) == len(x) and logits.shape[1] != classes:
        raise ModelError(f"{name} tells {logits.shape[1]} classes apart, {data} has {classes}")
    if tuple(logits.shape) != expected:
        raise ModelError(f"{name} returned {tuple(logits.shape)}, expected {expected}")
    if not logits.isfinite().all():
        raise UnscorableError(f"{name} returned logits that are not finite")
    return logits


def require_real(logits: Tensor, name: str = "net") -> None:
    """Refuse logits that are not real numbers in a dense tensor.

    Raises:
        ModelError: they are complex, quantized, sparse, nested, or of another layout.
    """
    kinds = {
        "complex": logits.is_complex(),
        "quantized": logits.is_quantized,
        "nested": logits.is_nested,
        str(logits.layout).removeprefix("torch."): logits.layout is not torch.strided,
    }
    for kind, found in kinds.items():
        if found:
            raise ModelError(
                f"{name} returned a {kind} tensor, expected a dense one of real numbers"
            )


def check_fit(
    net: nn.Module,
    images: Callable[[int], Tensor],
    classes: int,
    *,
    sizes: Sequence[int] = (1,),
    available: int = 1,
    name: str = "net",
    data: str = "the data set",
) -> None:
    """Refuse, in one line, a net that does not return logits of these classes for these images.

    Args:
        net: in the mode and on the device that it is to be used in.
        images: (N, C, H, W) for N, on the net's device.
        sizes: batches that it must take.
        available: images that there are; where a size fails, others up to it are tried.
        name: of the net, in messages.
        data: name of the data set, in messages.

    Raises:
        ModelError: the net does not take the images, or not in batches of any size, or does not
            return finite logits of their classes.
    """

    def failure(size: int) -> str:
        try:
            logits_of(net, images(size), classes, name=name, data=data)
        except (ModelError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever the user's code raises
            return first_line(error)
        return ""

    failed = {size: reason for size in sizes if (reason := failure(size))}
    if not failed:
        return
    size, reason = next(iter(failed.items()))
    others = {*sizes, *(other for other in BATCHES if other <= available)} - failed.keys()
    taken = next((other for other in sorted(others) if not failure(other)), None)
    if taken is not None:
        raise ModelError(f"{name} takes batches of {taken} but not of {size}: {reason}")
    shape = " x ".join(map(str, images(1).shape[1:]))
    raise ModelError(f"{name} does not take images of {shape}: {reason}")


def connected_logits(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor] | None:
    """A leaf equal to (B, C, H, W) `x` and the (B, K) logits that autograd connects with it.

    Returns:
        None where no gradient leads from the logits to the pixels.
    """
    leaf = x.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        logits: Tensor = net(leaf.clone())  # some nets change what they are given
    return (leaf, logits) if logits.requires_grad else None


def has_gradients(net: nn.Module, x: Tensor) -> bool:
    """Does autograd connect logits and pixels? A gradient that is zero counts as one.

    Args:
        net: with frozen parameters, so that the pixels' part alone is seen.
        x: (B, C, H, W), on the net's device.
    """
    return connected_logits(net, x) is not None
