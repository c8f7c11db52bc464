"""Slopes of CROWN's lower lines, optimised for each linear function (Xu et al. 2021, alpha-CROWN).

The intervals stay as they are; whatever the slopes, the bound holds.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from fftune.certified.crown import Relaxation, least
from fftune.certified.graph import Graph
from fftune.certified.interval import Ball
from fftune.certified.time_limit import Deadline

STEPS = 20
"""Steps of Adam."""
LENGTH = 0.1
"""Length of the first step; each is shorter by `DECAY`."""
DECAY = 0.95


def optimised(
    graph: Graph,
    coefficients: Callable[[], Tensor],
    owner: Tensor,
    lines: Mapping[int, Relaxation],
    ball: Ball,
    *,
    enough: Tensor,
    deadline: Deadline,
    weights: Tensor | None = None,
) -> Tensor:
    """Bound linear functions of the logits from below, each with slopes of its own.

    Args:
        coefficients: (R, K), which may depend on `weights`.
        owner: (R,) int64, the image that each is of.
        enough: (R,) bounds at which the search may end.
        weights: numbers that are optimised, too.

    Returns:
        (R,), the best bound of all steps.

    Raises:
        OutOfTimeError: the deadline is over.
    """
    last = len(graph.steps) - 1
    if not lines and weights is None:  # there is nothing to choose
        return least(graph, last, coefficients(), owner, lines, ball)
    slopes = {i: lines[i].line[owner].clone().requires_grad_() for i in lines}
    groups = [{"params": [*slopes.values()], "lr": LENGTH}] if slopes else []
    groups += [] if weights is None else [{"params": [weights], "lr": 5 * LENGTH}]
    adam = torch.optim.Adam(groups)
    best = torch.full((len(owner),), -torch.inf, device=owner.device)
    for _ in range(STEPS):
        deadline.check()
        with torch.enable_grad():
            bound = least(graph, last, coefficients(), owner, lines, ball, slopes)
        best = torch.maximum(best, bound.detach())
        if bool((best > enough).all()):
            break
        adam.zero_grad()
        with torch.enable_grad():
            (-bound.sum()).backward()
        adam.step()
        with torch.no_grad():
            for slope in slopes.values():
                slope.clamp_(0, 1)
        for group in adam.param_groups:
            group["lr"] *= DECAY
    return best
