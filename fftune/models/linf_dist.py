"""The l_inf-distance net (Zhang et al. 2021; Tao et al. 2022, eq. 4), which is 1-Lipschitz."""

import math

import torch
from torch import Tensor, nn

from fftune.config import InputSpec, require
from fftune.models.entry import ModelEntry
from fftune.models.layers import Normalize
from fftune.models.lp_distance import distances

DEPTH = 6
WIDTH = 5120
STD = 0.2009
"""Divisor of all channels, that of upstream for CIFAR-10, used here for every data set."""
MOMENTUM = 0.1
IDENTITY = -10.0


class LinfDist(nn.Module):
    """Six layers of neurons u(x) = ||x - w||_p + b; the logits are the last ones' negatives.

    Each layer but the last subtracts the batch's mean instead of adding b, in eval mode the
    running mean, and never divides: so in eval mode, at p = infinity, no logit moves further
    than the largest normalised pixel, `lipschitz` times the largest pixel.

    A fresh net has p = infinity, training lowers and raises it (`set_p`); p is saved with the
    weights. First weights are standard normal, in layers that do not shrink with one -10 a
    neuron, which lets one input through, as upstream has it. Mixed precision is shut out.
    """

    def __init__(self, inputs: InputSpec, *, width: int | None = None) -> None:
        super().__init__()
        channels, height, breadth = inputs.shape
        hidden = [width or WIDTH] * (DEPTH - 1)
        sizes = [channels * height * breadth, *hidden]
        self.p = math.inf
        self.normalize = Normalize(inputs.mean, (STD,) * channels)
        self.hidden = nn.ModuleList(
            DistLayer(before, after) for before, after in zip(sizes, hidden, strict=False)
        )
        self.last = DistLayer(sizes[-1], inputs.classes, mean_shift=False)

    @property
    def lipschitz(self) -> float:
        """The most a logit can move for each unit that a pixel of [0, 1] moves."""
        return 1 / float(self.normalize.std.min())

    def set_p(self, p: float) -> None:
        """Use the l_p norm from now on."""
        require("p", p >= 1, ">= 1", p)
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            features = self.normalize(x).flatten(1)
            for layer in self.hidden:
                features = layer(features, self.p)
            logits: Tensor = -self.last(features, self.p)
        return logits

    @torch.no_grad()
    def decay(self, rate: float) -> None:
        """Shrink weights: w -= rate (|w| / ||w||_p)^(p - 2) w, each neuron's by themselves.

        The l_p weight decay of Zhang et al. (2021), to be called before the optimiser's step
        with rate = learning rate x weight decay. At p = infinity only the largest weight
        shrinks. A bias is a neuron's only one of its kind: it shrinks as a whole.
        """
        for parameter in self.parameters():
            rows = parameter.view(len(parameter), -1)
            size, largest = rows.abs().max(1, keepdim=True)
            if math.isinf(self.p):
                rows.scatter_add_(1, largest, -rate * rows.gather(1, largest))
                continue
            share = rows.abs() / size.clamp_min(torch.finfo(rows.dtype).tiny)
            norm = share.pow(self.p).sum(1, keepdim=True).pow(1 / self.p).clamp_min(1)
            rows.sub_(rate * (share / norm).pow(self.p - 2) * rows)

    @torch.no_grad()
    def rounding(self) -> float:
        """Bound of the rounding error of a logit, for pixels in [0, 1].

        Every operation errs by at most u = eps / 2 of its result, and at p = infinity in eval
        mode what follows passes an error on without enlarging it, so errors add.
        """
        unit = torch.finfo(self.last.weight.dtype).eps / 2
        mean, std = self.normalize.mean, self.normalize.std
        bound = float((torch.maximum(mean, 1 - mean) / std).max())  # of |x|, layer by layer
        error = 3 * unit * bound
        for layer in [*self.hidden, self.last]:
            assert isinstance(layer, DistLayer)
            bound += float(layer.weight.abs().max())
            error += unit * bound
            bound += float(layer.shift.abs().max())
            error += unit * bound
        return 2 * error  # bounds and sums were rounded themselves

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.p, dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        self.p = float(state)


class DistLayer(nn.Module):
    """Distances to the weights, then the mean subtracted or a bias added."""

    running_mean: Tensor

    def __init__(self, inputs: int, outputs: int, *, mean_shift: bool = True) -> None:
        super().__init__()
        weight = torch.randn(outputs, inputs)
        if inputs <= outputs:
            rows = torch.arange(outputs)
            weight[rows, rows % inputs] = IDENTITY
        self.weight = nn.Parameter(weight)
        self.bias = None if mean_shift else nn.Parameter(torch.zeros(outputs))
        if mean_shift:
            self.register_buffer("running_mean", torch.zeros(outputs))

    @property
    def shift(self) -> Tensor:
        """(outputs,) what eval mode adds to the distances."""
        return -self.running_mean if self.bias is None else self.bias

    def forward(self, x: Tensor, p: float) -> Tensor:
        distance = distances(x, self.weight, p)
        if self.bias is not None or not self.training:
            return distance + self.shift
        mean = distance.mean(0)
        with torch.no_grad():
            self.running_mean.lerp_(mean, MOMENTUM)
        return distance - mean


ENTRY = ModelEntry(build=LinfDist)
