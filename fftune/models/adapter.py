"""Adapters for nets of other conventions: (B, C, H, W) in, (B, K) out, x untouched."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from fftune.errors import ModelError
from fftune.models.equivalence import batches, first_line
from fftune.models.fits import require_real
from fftune.user_code import answering

log = logging.getLogger(__name__)

SIZES = (2, 4, 8, 10, 16, 32, 64, 100, 128, 256)
"""Batches that are tried on a net which does not take one image."""
LARGEST = 2**26
"""Most values of such a batch."""


@dataclass(frozen=True, slots=True)
class Manner:
    """Calling convention of a net that does not map float32 images to a tensor of logits."""

    dtype: torch.dtype | None = None
    """Type that images are converted to; None: the net takes float32."""
    key: int | str | None = None
    """Key, field or index of the logits in the net's output; None: the output is the logits."""
    changes_x: bool = False
    """The net writes into its input, and is given a copy."""
    narrow: bool = False
    """The logits are of another type than the images."""
    batch: int | None = None
    """Number of images that the net takes at once; None: any."""


class Adapted(nn.Module):
    """A net called in its own convention, which takes float images and returns logits."""

    def __init__(self, net: nn.Module, manner: Manner) -> None:
        super().__init__()
        self.net = net
        self.manner = manner

    def around(self, net: nn.Module) -> "Adapted":
        """Wrap another net in the same calling convention."""
        return Adapted(net, self.manner)

    def forward(self, x: Tensor) -> Tensor:
        if self.manner.batch is None:
            return self._logits(x)
        parts = [_filled(part, self.manner.batch) for part in x.split(self.manner.batch)]
        return torch.cat([self._logits(part) for part in parts])[: len(x)]

    def _logits(self, x: Tensor) -> Tensor:
        manner = self.manner
        inner = x if manner.dtype is None else x.to(manner.dtype)
        out = self.net(inner.clone() if manner.changes_x else inner)
        return _picked(out, manner.key).to(x.dtype).resolve_neg()


def _filled(x: Tensor, size: int) -> Tensor:
    """(size, C, H, W): the images, and black ones up to a net's only size of batch."""
    return x if len(x) == size else torch.cat([x, x.new_zeros(size - len(x), *x.shape[1:])])


def adapted(net: nn.Module, x: Tensor) -> nn.Module:
    """The net itself if it maps images to logits, else an adapter around it.

    It takes images of the net's own type of weights, if it takes no others; gives the net images
    of its own, if it writes into them, and as many at once as it takes, if that is one number; and
    returns the one of several outputs that is called `logits`, else the first.

    Args:
        net: in eval mode.
        x: (B, C, H, W) images; see `equivalence.batches`.

    Raises:
        ModelError: the net does not take so many images, or its output is not a row of logits
            an image, or autograd cannot follow it.
    """
    if not len(x):
        return net
    manner = _manner(net, x)
    try:
        _differentiate(_asked(net, manner), x[:1])
    except RuntimeError as error:
        if manner.changes_x or "in-place" not in str(error):
            raise _blind(error) from error
        manner = replace(manner, changes_x=True)  # which it does where gradients are asked for
        try:
            _differentiate(_asked(net, manner), x[:1])
        except RuntimeError as again:
            raise _blind(again) from again
    return _asked(net, manner)


def _asked(net: nn.Module, manner: Manner) -> nn.Module:
    return net if manner == Manner() else Adapted(net, manner)


def _manner(net: nn.Module, x: Tensor) -> Manner:
    batch = _batch_of(net, x)
    dtype = None if batch else _type_of(net, x[:1])
    key: int | str | None = None
    changes_x = narrow = False
    for few in batches(x) if batch is None else [_filled(x[:batch], batch)]:
        given = few.to(dtype or x.dtype, copy=True)
        before, version = given.clone(), given._version
        try:
            out = _ask(net, given)
        except ModelError:
            raise
        except Exception as error:  # whatever the user's code raises
            raise _refusal(few, error) from error
        key = _key(out)
        logits = _picked(out, key)
        require_real(logits)
        shape = tuple(logits.shape)
        if len(shape) != 2 or shape[0] != len(few):
            raise ModelError(f"net returned {shape}, expected ({len(few)}, classes)")
        changes_x |= given._version != version or not torch.equal(given, before)
        narrow |= logits.dtype != x.dtype or logits.is_neg()
    if key is not None:
        log.info("the net returns a %s; of it, %r is taken for logits", type(out).__name__, key)
    if dtype is not None:
        log.info("the net takes images in %s alone, to which they are rounded", dtype)
    if batch is not None:
        log.info("the net takes batches of %d alone, into which others are cut", batch)
    return Manner(dtype, key, changes_x, narrow, batch)


def _batch_of(net: nn.Module, x: Tensor) -> int | None:
    """The one size of batch that a net takes, as exported ones do; None where it takes several.

    None, too, where no size is found: what is wrong with the net is told by whoever asks it.
    """
    if _takes(net, x[:1].clone()):
        return None if _takes(net, _repeated(x, 2)) else 1
    for size in SIZES:
        if size * x[0].numel() > LARGEST:
            return None
        if _takes(net, _repeated(x, size)):
            return None if _takes(net, _repeated(x, 2 * size)) else size
    return None


def _repeated(x: Tensor, size: int) -> Tensor:
    return x.repeat(-(-size // len(x)), 1, 1, 1)[:size]


def _type_of(net: nn.Module, x: Tensor) -> torch.dtype | None:
    """The type that a net's images must be of; None where it takes float32."""
    try:
        _ask(net, x.clone())
    except ModelError:
        raise
    except Exception as error:  # whatever the user's code raises
        tensors = (*net.parameters(), *net.buffers())
        own = {tensor.dtype for tensor in tensors if tensor.is_floating_point()} - {x.dtype}
        for dtype in own:
            if _takes(net, x.to(dtype)):
                return dtype
        raise _refusal(x, error) from error
    return None


def _takes(net: nn.Module, x: Tensor) -> bool:
    try:
        _ask(net, x)
    except Exception:  # whatever the user's code raises
        log.debug("the net takes no %d images of %s", len(x), x.dtype, exc_info=True)
        return False
    return True


def _ask(net: nn.Module, x: Tensor) -> Any:
    """The net's output, without gradients.

    Raises:
        ModelError: it ends the program.
    """
    with answering(), torch.no_grad():
        return net(x)


def _key(out: Any) -> int | str | None:
    """The key of the logits in a net's output.

    Raises:
        ModelError: there are none.
    """
    if isinstance(out, Tensor):
        return None
    named = out.get("logits") if isinstance(out, Mapping) else getattr(out, "logits", None)
    if isinstance(named, Tensor):
        return "logits"
    if isinstance(out, tuple | list) and out and isinstance(out[0], Tensor):
        return 0
    raise ModelError(f"net returned {type(out).__name__}, not logits (B, classes)")


def _picked(out: Any, key: int | str | None) -> Tensor:
    """The logits: what is returned, or its item or field of that name."""
    named = isinstance(key, str) and not isinstance(out, Mapping)
    logits: Tensor = out if key is None else getattr(out, str(key)) if named else out[key]
    return logits


def _differentiate(net: nn.Module, x: Tensor) -> None:
    leaf = x.clone().requires_grad_(True)
    with torch.enable_grad():
        logits: Tensor = net(leaf)
        if logits.requires_grad:
            torch.autograd.grad(logits.sum(), leaf, allow_unused=True)


def _blind(error: Exception) -> ModelError:
    return ModelError(f"net's gradients cannot be computed: {first_line(error)}")


def _refusal(x: Tensor, error: Exception) -> Exception:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return error
    shape = " x ".join(map(str, x.shape[1:]))
    many = "" if len(x) == 1 else f", {len(x)} at once"
    return ModelError(f"net does not take images of {shape}{many}: {first_line(error)}")
