"""Interval bounds: what each value of a net can be while its images stay in a ball."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fftune.certified.graph import Graph
from fftune.certified.linf_dist import EPS_SLACK
from fftune.config import Norm, ThreatModel

Interval = tuple[Tensor, Tensor]
"""Lower and upper bounds, (B, *shape) each."""


def reach_of(threat: ThreatModel) -> float:
    """Radius of a threat model, with the slack by which rounded points may lie outside."""
    relative, absolute = EPS_SLACK
    return threat.eps * (1 + relative) + absolute


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ball:
    """Images within a radius of B images, cut to [0, 1]."""

    x: Tensor
    """(B, C, H, W), pixels in [0, 1]."""
    norm: Norm
    reach: float
    """Radius, with slack; see `reach_of`."""

    @classmethod
    def of(cls, x: Tensor, threat: ThreatModel) -> "Ball":
        """The ball of a threat model around images."""
        return cls(x=x, norm=threat.norm, reach=reach_of(threat))

    @property
    def box(self) -> Interval:
        """Smallest box around each ball."""
        return (self.x - self.reach).clamp(0, 1), (self.x + self.reach).clamp(0, 1)

    def least(self, coefficients: Tensor, owner: Tensor) -> Tensor:
        """Bound linear functions of the images from below.

        Exact for linf. For l2 the larger of the bounds by the whole ball (Hoelder) and by the box.

        Args:
            coefficients: (R, C, H, W).
            owner: (R,) int64, the image that each is of.

        Returns:
            (R,).
        """
        low, high = (end[owner] for end in self.box)
        boxed = ((coefficients * (low + high)).flatten(1).sum(1)) / 2
        boxed = boxed - (coefficients.abs() * (high - low)).flatten(1).sum(1) / 2
        if self.norm == "linf":
            return boxed
        length = torch.linalg.vector_norm(coefficients.flatten(1), dim=1)
        whole = (coefficients * self.x[owner]).flatten(1).sum(1) - self.reach * length
        return torch.maximum(boxed, whole)

    def among(self, rows: Tensor) -> "Ball":
        """The balls of some of the images."""
        return Ball(x=self.x[rows], norm=self.norm, reach=self.reach)


def advanced(graph: Graph, index: int, known: list[Interval]) -> Interval:
    """Interval of a step's output, from those of its inputs.

    Args:
        known: of each earlier step.
    """
    step = graph.steps[index]
    given = [known[i] for i in step.inputs]
    if step.kind == "relu":
        low, high = given[0]
        return low.relu(), high.relu()
    assert step.maps is not None
    centre = step.maps.apply(*((low + high) / 2 for low, high in given))
    radius = step.maps.spread(*((high - low) / 2 for low, high in given))
    return centre - radius, centre + radius


def intervals(graph: Graph, ball: Ball) -> list[Interval]:
    """Intervals of every step's output, by interval arithmetic (Gowal et al. 2018)."""
    known: list[Interval] = [ball.box]
    for index in range(1, len(graph.steps)):
        known.append(advanced(graph, index, known))
    return known
