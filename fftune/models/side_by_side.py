"""Copies of one net side by side, as one net of grouped convolutions: the same sums, fewer calls.

Row r of a batch belongs to copy r mod k. Whatever a batch is joined with, or cut into at multiples
of k, its rows stay with their copies.
"""

import copy
import logging

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from fftune.config import InputSpec
from fftune.errors import ConfigError
from fftune.models.equivalence import first_line
from fftune.models.layers import Normalize

log = logging.getLogger(__name__)
TOLERANCE = 1e-3
"""Largest difference from a net alone, of the logits' own spread, that counts as rounding."""
STIR = 0.1
"""Deviation by which the weights of a trial's second copy are moved, of their own."""


class SideBySide(nn.Module):
    """k copies of a net. Every tensor is those of the copies, one after another; names stay.

    A number that a layer keeps, as the steps that BatchNorm counts, is one and the same for all.
    """

    def __init__(self, net: nn.Module, copies: int) -> None:
        """Build k copies with the weights of `net`, which is left as it is.

        Raises:
            ConfigError: it has a layer whose copies cannot lie side by side.
        """
        super().__init__()
        if len([*net.named_parameters(remove_duplicate=False)]) > len([*net.parameters()]):
            raise ConfigError("it shares weights between layers")
        self.copies = copies
        self.net = _widened(copy.deepcopy(net), copies)

    def forward(self, x: Tensor) -> Tensor:
        """Answer (R, C, H, W) rows with (R, K) logits, each row by its own copy."""
        return _in_rows(self.net(_in_channels(x, self.copies)), x, self.copies)

    def state_of(self, index: int) -> dict[str, Tensor]:
        """The state of one copy, under the names that a net alone has."""
        return {
            name: tensor.chunk(self.copies)[index].clone() if tensor.dim() else tensor.clone()
            for name, tensor in self.net.state_dict().items()
        }


class Linears(nn.Module):
    """k linear layers: (B, k F) or (k B, F) to (B, k O)."""

    def __init__(self, one: nn.Linear, copies: int) -> None:
        super().__init__()
        self.copies, self.inputs, self.outputs = copies, one.in_features, one.out_features
        self.weight = one.weight
        self.bias: nn.Parameter | None = one.bias

    def forward(self, x: Tensor) -> Tensor:
        columns = x.reshape(-1, self.copies, self.inputs).transpose(0, 1)
        weight = self.weight.view(self.copies, self.outputs, self.inputs).transpose(1, 2)
        if self.bias is None:
            out = torch.bmm(columns, weight)
        else:
            out = torch.baddbmm(self.bias.view(self.copies, 1, self.outputs), columns, weight)
        return out.transpose(0, 1).reshape(-1, self.copies * self.outputs)


def side_by_side(net: nn.Module, copies: int, inputs: InputSpec, *, name: str) -> SideBySide:
    """K copies of a net, once two of other weights have answered as each does alone.

    Args:
        name: of the net, for messages.

    Raises:
        ConfigError: they do not, in eval mode or in train mode; or a layer cannot be so built.
    """
    try:
        reason = _fault(net, inputs)
    except Exception as error:  # whatever the user's code raises at more channels than it knows
        log.debug("two copies side by side failed", exc_info=True)
        reason = first_line(error)
    if reason:
        raise ConfigError(
            f"fuse must be 1 for {name}, of which no copies go side by side: {reason}"
        )
    return SideBySide(net, copies)


def _fault(net: nn.Module, inputs: InputSpec) -> str:
    """A few words on how two copies of a net differ from two nets; empty if they do not."""
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    numbers = torch.Generator().manual_seed(0)
    two = [copy.deepcopy(net), _stirred(copy.deepcopy(net), numbers)]
    fused = SideBySide(net, 2)
    states = [one.state_dict() for one in two]
    fused.net.load_state_dict(
        {
            name: torch.cat([state[name] for state in states]) if tensor.dim() else tensor
            for name, tensor in states[0].items()
        }
    )
    x = torch.rand(8, *inputs.shape, generator=numbers).to(device)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for training in (False, True):
            logits = fused.train(training)(x)
            for index, one in enumerate(two):
                alone = one.train(training)(x[index::2])
                spread = float(alone.max() - alone.min())
                if not float((logits[index::2] - alone).abs().max()) <= TOLERANCE * spread:
                    return f"they answer otherwise in {'train' if training else 'eval'} mode"
    return ""


def _stirred(net: nn.Module, numbers: torch.Generator) -> nn.Module:
    """Move the weights of a net a little: what mixes copies that are equal would not be seen."""
    with torch.no_grad():
        for weight in net.parameters():
            drawn = torch.randn(weight.shape, generator=numbers).to(weight)
            weight.add_(STIR * drawn * weight.abs().mean().clamp(min=STIR))
    return net


def _widened(module: nn.Module, copies: int) -> nn.Module:
    """The module itself, k times as wide; linear layers are replaced."""
    if isinstance(module, _DropoutNd):
        raise ConfigError("a net alone would draw other numbers for its dropout")
    kind = type(module).__name__
    if isinstance(module, nn.Conv2d):
        module.in_channels *= copies
        module.out_channels *= copies
        module.groups *= copies
    elif isinstance(module, nn.Linear):
        module = Linears(module, copies)
    elif isinstance(module, _BatchNorm):
        module.num_features *= copies
    elif not isinstance(module, Normalize) and (module._parameters or module._buffers):
        raise ConfigError(f"it has weights in a {kind}")
    for name, weight in module._parameters.items():
        if weight is not None:
            wide = nn.Parameter(_repeated(weight.detach(), copies), weight.requires_grad)
            module._parameters[name] = wide
    for name, buffer in module._buffers.items():
        if buffer is not None and buffer.dim():
            module._buffers[name] = _repeated(buffer, copies)
    for name, child in module._modules.items():
        if child is not None:
            module._modules[name] = _widened(child, copies)
    return module


def _repeated(tensor: Tensor, copies: int) -> Tensor:
    return tensor.repeat(copies, *(1 for _ in tensor.shape[1:]))


@fx.wrap
def _in_channels(x: Tensor, copies: int) -> Tensor:
    """(R, C, H, W) rows as (R / k, k C, H, W), filled up with rows of zeros where k divides not R.

    A search may fill a batch up, and a net may be tried on a single image.
    """
    missing = -len(x) % copies
    if missing:
        x = F.pad(x, (0, 0, 0, 0, 0, 0, 0, missing))
    return x.reshape(len(x) // copies, copies * x.shape[1], *x.shape[2:])


@fx.wrap
def _in_rows(logits: Tensor, x: Tensor, copies: int) -> Tensor:
    """(R / k, k K) logits as (R, K)."""
    rows = -(-len(x) // copies) * copies
    return logits.reshape(rows, -1)[: len(x)]
