"""Mistakes that cannot be concealed: some other class stays above the true one in all the ball.

Adversarial verification takes the least of all lower bounds of z_y - z_j. Here one lower bound of
z_j - z_y above 0, of some j != y, is enough; or of a mean of z_j, j != y, less z_y, as the largest
of them is no less than their mean. Both are sufficient and not necessary: which j is above may
change within the ball.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from fftune.certified.crown import Relaxation
from fftune.certified.graph import Graph
from fftune.certified.interval import Ball
from fftune.certified.slopes import optimised
from fftune.certified.time_limit import Deadline

TRUST = 4.0
"""Logit of the best class over the others in the first mean."""


def above_true(y: Tensor, classes: int) -> Tensor:
    """(B, K, K) coefficients of z_j - z_y, of all j; row j = y is 0."""
    every = torch.eye(classes, device=y.device)
    return every[None] - every[y][:, None]


def mean_above_true(
    graph: Graph,
    y: Tensor,
    bounds: Tensor,
    lines: Mapping[int, Relaxation],
    ball: Ball,
    *,
    enough: Tensor,
    deadline: Deadline,
) -> Tensor:
    """Bound a mean of z_j - z_y, j != y, from below, whose weights are optimised.

    Args:
        y: (B,) int64, true classes.
        bounds: (B, K) lower bounds of z_j - z_y, -inf at j = y.
        enough: (B,) bounds at which the search may end.

    Returns:
        (B,).
    """
    own = torch.zeros_like(bounds).scatter_(1, y[:, None], -torch.inf)
    weights = torch.zeros_like(bounds).scatter_(1, bounds.argmax(1, keepdim=True), TRUST)
    weights.requires_grad_()
    true = torch.eye(graph.classes, device=y.device)[y]
    return optimised(
        graph,
        lambda: (weights + own).softmax(1) - true,
        torch.arange(len(y), device=y.device),
        lines,
        ball,
        enough=enough,
        deadline=deadline,
        weights=weights,
    )
