"""Passes of a net, counted for each image, whoever asks; and the one rule of who has fooled it."""

import torch
from torch import Tensor, nn

from fftune.attacks import success
from fftune.config import Goal
from fftune.models import inference_copy

TOLERANCE = 1e-6
DOUBTFUL = 0.9
"""Ratio of the distances to the nearest image and the next above which a row is counted so."""


class PassHook(nn.Module):
    """Net that counts its passes for each image, and notes when an image is first fooled."""

    def __init__(self, net: nn.Module, x: Tensor, y: Tensor, goal: Goal, eps: float) -> None:
        """Watch attacks with this goal on (N, C, H, W) images `x` of (N,) labels `y`.

        They ask an equivalent copy of the net, which is faster; `verdict` is the net itself.
        """
        super().__init__()
        self.verdict, self.net = net, inference_copy(net, "fp32", x[:4])
        self.x, self.y, self.goal, self.eps = x, y, goal, eps
        self.forwards, self.backwards = (torch.zeros(len(x), dtype=torch.int64) for _ in range(2))
        self.first = torch.full((len(x),), -1)
        """(N,) int64, passes of both kinds up to the first that fooled; -1: none has."""
        self.doubtful = 0
        """Rows that lie nearly as near to a second image."""
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        at = self.images(x.detach())
        self.forwards.index_add_(0, at, torch.ones_like(at))
        logits: Tensor = self.net(x)
        won = at[fooled(self.goal, logits.detach(), self.x[at], x.detach(), self.y[at], self.eps)]
        new = won[self.first[won] < 0]
        self.first[new] = self.forwards[new] + self.backwards[new]
        if logits.requires_grad:
            logits.register_hook(lambda _: self._differentiated(at))
        return logits

    def images(self, x: Tensor) -> Tensor:
        """(R,) int64, the image of each row: the nearest in l_2."""
        apart = torch.cdist(x.flatten(1), self.x.flatten(1))
        near = apart.topk(min(2, len(self.x)), largest=False)
        self.doubtful += int((near.values[:, 0] > DOUBTFUL * near.values[:, -1]).sum())
        return near.indices[:, 0]

    def _differentiated(self, at: Tensor) -> None:
        self.backwards.index_add_(0, at, torch.ones_like(at))


def fooled(goal: Goal, logits: Tensor, x: Tensor, x_pert: Tensor, y: Tensor, eps: float) -> Tensor:
    """(R,) bool: the point serves the goal, and lies inside the ball and [0, 1]: one rule for all.

    Args:
        logits: (R, K), the untouched net's at `x_pert`.
    """
    pred = logits.argmax(1)
    pixels = x_pert.flatten(1)
    far = (pixels - x.flatten(1)).abs().amax(1) > eps + TOLERANCE
    outside = (pixels.amin(1) < -TOLERANCE) | (pixels.amax(1) > 1 + TOLERANCE)
    return success(goal, pred, pred, y) & ~far & ~outside
