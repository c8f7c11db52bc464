"""Verdicts: what the untouched net says of an image, whatever else is in its batch.

On a GPU a row's last bits depend on the shape of its batch, on TF32, and on the algorithm that was
chosen. A verdict therefore goes through the net in pieces of one size, in full float32, by
deterministic algorithms; see `DevicePolicy.piece`. On a CPU it is the plain call.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fftune.devices import policy

Net = Callable[[Tensor], Tensor]

_CUDNN: Any = torch.backends.cudnn
_MATMUL: Any = torch.backends.cuda.matmul
_FLAGS: tuple[tuple[Any, str, Any], ...] = (
    (_CUDNN, "benchmark", False),
    (_CUDNN, "deterministic", True),
    # Else each tensor that is made is filled first, at the price of a launch.
    (torch.utils.deterministic, "fill_uninitialized_memory", False),
    # Torch refuses to say what its older flags are where the newer ones contradict them.
    (_CUDNN, "allow_tf32", False),
    (_MATMUL, "allow_tf32", False),
    (_CUDNN.conv, "fp32_precision", "ieee"),
    (_CUDNN.rnn, "fp32_precision", "ieee"),
    (_MATMUL, "fp32_precision", "ieee"),
)
"""Owner and name of each flag, in the order in which they are set, and its value in a verdict."""


@contextmanager
def exact() -> Iterator[None]:
    """Full float32 by deterministic algorithms inside the block; then all flags as before.

    An operation that has no deterministic algorithm is used as it is, and torch warns of it.
    """
    # Read once, at the first product of matrices; without it torch warns of every one.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = [(owner, name, _read(partial(getattr, owner, name))) for owner, name, _ in _FLAGS]
    products = _read(torch.get_float32_matmul_precision)
    mode = torch.get_deterministic_debug_mode()
    try:
        for owner, name, value in _FLAGS:
            setattr(owner, name, value)
        torch.set_deterministic_debug_mode("warn")  # its other spelling imports a compiler
        with torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
            yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        for owner, name, value in before:
            if value is not None:
                setattr(owner, name, value)
        if products == "medium":  # which the flags above cannot tell from "high"
            torch.set_float32_matmul_precision(products)


@contextmanager
def pieces(x: Tensor, piece: int | None = None) -> Iterator[Iterator[tuple[Tensor, int]]]:
    """Parts of a batch, each with the number of its rows that are no padding; exact inside.

    Args:
        x: (B, C, H, W), pixels in [0, 1].
        piece: rows of each part; 0: one part, x itself, with flags as they are; default what the
            policy of x's device says.
    """
    size = policy(x.device.type).piece if piece is None else piece
    if not size:
        yield iter([(x, len(x))])
        return
    with exact():
        yield ((_padded(part, size), len(part)) for part in x.split(size))


def in_pieces(net: Net, piece: int | None = None) -> Net:
    """The net as verdicts ask it, (B, C, H, W) images to (B, K) logits.

    Args:
        net: untouched, in eval mode.
        piece: as in `pieces`.
    """

    def ask(x: Tensor) -> Tensor:
        with pieces(x, piece) as parts:
            found = [_without_padding(net(part), len(part), rows) for part, rows in parts]
        return found[0] if len(found) == 1 else torch.cat(found)

    return ask


def _padded(x: Tensor, size: int) -> Tensor:
    """The batch with rows added up to `size`, each a ramp over all greys.

    That is an image which any net takes, not flat, as some nets divide by an image's spread, and
    always the same, so that not even a net that looks at its batch sees other images there.
    """
    missing = size - len(x)
    if not missing:
        return x
    shape = x.shape[1:]
    ramp = torch.linspace(0, 1, shape.numel(), dtype=x.dtype, device=x.device).view(shape)
    return torch.cat([x, ramp.expand(missing, *shape)])


def _without_padding(logits: Tensor, given: int, rows: int) -> Tensor:
    """The first rows; a net that returned another number than it was given shows all of them."""
    return logits[:rows] if rows < given and logits.shape[:1] == (given,) else logits


def _read(flag: Callable[[], Any]) -> Any:
    """A flag's value; None where torch finds its flags contradictory and will not say."""
    try:
        return flag()
    except RuntimeError:
        return None
