"""Traces that a false friend leaves in an image, as a net under audit sees them.

A friend moves an image along the gradient of the net's loss (Tao et al. 2022, sec. 3.1), so that
what it adds resembles the gradient's sign at the point where it ends. In a clean image the two are
unrelated once both are whitened; so the correlation is a matched filter for friends.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fftune.attacks.losses import margin
from fftune.forensics.whitening import Whitening

NAMES = ("trace", "smoothed trace", "margin", "loss of margin")
"""Measurements of an image; see `Traces`."""
BATCH = 250
"""Images that are asked about at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Traces:
    """Measurements of N images."""

    values: Tensor
    """(N, 4) float32: correlation with minus the sign of the loss gradient at the image; the same
    with the gradient at the smoothed image, which is nearer to what the image was; the lead of y
    over its strongest rival, a logit difference; how much of it smoothing takes."""
    right: Tensor
    """(N,) bool, predicted as y."""

    def select(self, rows: Tensor) -> "Traces":
        """Return the measurements of some images."""
        return Traces(self.values[rows], self.right[rows])

    def __len__(self) -> int:
        return len(self.values)


def traces(net: nn.Module, x: Tensor, y: Tensor, whitening: Whitening) -> Traces:
    """Measure images; see `Traces`.

    Args:
        net: frozen, in eval mode.
        x, y: (N, C, H, W) images in [0, 1] and (N,) int64 labels.
    """
    values = torch.empty(0, len(NAMES))
    if len(x):
        pairs = zip(x.split(BATCH), y.split(BATCH), strict=True)
        values = torch.cat([measured(net, *pair, whitening).detach() for pair in pairs])
    return Traces(values=values, right=values[:, NAMES.index("margin")] > 0)


def measured(net: nn.Module, x: Tensor, y: Tensor, whitening: Whitening) -> Tensor:
    """(B, 4) measurements of a batch, differentiable in x if x asks for gradients.

    The signs of gradients count as constants then, as they are nearly everywhere.
    """
    wanted = x.requires_grad
    columns, margins = [], []
    for point in (x, smoothed(x)):
        asked = point if wanted else point.detach().requires_grad_(True)
        with torch.enable_grad():
            logits = net(asked)
            loss = F.cross_entropy(logits, y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, asked, retain_graph=wanted)
        columns.append(whitening.alike(x, -gradient.detach().sign()))
        margins.append(-margin(logits, y))
    lead, left = margins
    return torch.stack([*columns, lead, lead - left], 1)


def smoothed(x: Tensor) -> Tensor:
    """Images under a 3 x 3 mean, which takes most of what a friend adds, and little else."""
    return F.avg_pool2d(F.pad(x, (1,) * 4, mode="reflect"), 3, 1)
