"""One forward and backward pass of the objective, as a function that a device can record."""

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor, nn

from fftune.capture import captured
from fftune.config import TrainPrecision
from fftune.errors import ConfigError

Loss = Callable[[Tensor, Tensor], Tensor]
"""An objective as a function of the logits and y."""


def add_gradients(
    net: nn.Module,
    inputs: Tensor,
    y: Tensor,
    *,
    loss: Loss,
    precision: TrainPrecision,
    counted: int,
    weight: float,
    copies: tuple[int, ...] = (),
) -> tuple[Tensor, Tensor]:
    """Add the gradients of weight x the mean loss of a batch.

    Args:
        net: in train mode.
        inputs: (B, C, H, W), or (2B, C, H, W) where the crafting is joint.
        y: (B,) int64.
        loss: gives a tensor of shape `copies`: a scalar, or each net's own.
        precision: `bf16` computes products in bf16, sums and losses in fp32.
        counted: examples of the batch that are not padding, the first ones.
        copies: (k,) of k nets side by side, with k rows an example; () of one net.

    Returns:
        The sum of their losses and the number of right predictions, of shape `copies`, on the
        device.

    Raises:
        ConfigError: the loss gives something else.
    """
    device = inputs.device.type
    with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
        logits = net(inputs)
        value = loss(logits, y)
    if not isinstance(value, Tensor) or value.shape != copies:
        got = tuple(value.shape) if isinstance(value, Tensor) else repr(value)
        raise ConfigError(f"objective must return a scalar tensor, got {got}")
    (value.sum() * weight).backward()  # no weight of a net takes part in another's loss
    rows = counted * prod(copies)
    right = (logits[:rows].argmax(1) == y[:rows]).view(counted, *copies).sum(0)
    return value.detach() * counted, right


add_gradients_recorded = captured(add_gradients)
"""`add_gradients`, recorded: gradients must lie at addresses that last; see `Updates.clear`."""
