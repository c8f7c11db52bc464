"""Bounds of any net that the graph knows: who stays right, who stays wrong, in all of a ball.

Interval arithmetic first, then CROWN with intervals sharpened by CROWN, then optimised slopes; each
only for images that are still open. In fp32, whose rounding is not covered: a margin counts from
`ROUNDING` on, which is an allowance and no proof.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from fftune.certified.crown import Relaxation, least, refined, relaxations
from fftune.certified.graph import Graph, graph_of
from fftune.certified.hypocritical import above_true, mean_above_true
from fftune.certified.interval import Ball, Interval, intervals
from fftune.certified.slopes import optimised
from fftune.certified.time_limit import Deadline, OutOfTimeError
from fftune.config import ThreatModel

ROUNDING = 1e-4
"""Margin below which none counts, relative to 1 + the largest logit."""
TOGETHER = 16
"""Images that are bounded together."""

Kept = Literal["right", "wrong"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decision:
    """Certificates of B images."""

    kept: Tensor
    """(B,) bool: no point of the ball changes it, right or wrong."""
    late: Tensor
    """(B,) bool: not decided when the time was over."""


def decide(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    threat: ThreatModel,
    kept: Kept,
    seconds: float,
) -> Decision:
    """Certify that images stay right, or wrong, in the ball cut to [0, 1].

    Args:
        net: in eval mode, frozen.
        x: (B, C, H, W) fp32, pixels in [0, 1].
        y: (B,) int64, true classes.
        kept: "right": whether those that are right stay so; "wrong": those that are wrong.
        seconds: time for an image, on average over those that are bounded together.

    Raises:
        ConfigError: the graph does not know the net; see `graph_of`.
    """
    empty = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    found = Decision(kept=empty, late=empty.clone())
    if not len(x):
        return found
    graph = graph_of(net, x)
    with torch.no_grad():
        logits = net(x)
        asked = (logits.argmax(1) == y) == (kept == "right")
        for rows in asked.nonzero().flatten().split(TOGETHER) if bool(asked.any()) else ():
            enough = ROUNDING * (1 + logits[rows].abs().amax(1))
            task = _Task(graph, Ball.of(x[rows], threat), y[rows], kept, enough)
            found.kept[rows], found.late[rows] = task.run(Deadline.after(seconds * len(rows)))
    return found


class _Task:
    """Images of a batch that are bounded together, and what is known of them."""

    def __init__(self, graph: Graph, ball: Ball, y: Tensor, kept: Kept, enough: Tensor) -> None:
        self.graph = graph
        self.ball = ball
        self.y = y
        self.kept: Kept = kept
        self.enough = enough
        sign = 1 if kept == "wrong" else -1
        self.rows = sign * above_true(y, graph.classes)
        """(B, K, K) coefficients of the margins."""
        self.bounds = torch.full(self.rows.shape[:2], -torch.inf, device=y.device)
        """(B, K) lower bounds of the margins; of no use at y."""

    @property
    def decided(self) -> Tensor:
        """(B,) bool: certified."""
        over, y = self.bounds > self.enough[:, None], self.y[:, None]
        if self.kept == "right":
            return over.scatter(1, y, value=True).all(1)
        return over.scatter(1, y, value=False).any(1)

    def run(self, deadline: Deadline) -> tuple[Tensor, Tensor]:
        """(B,) bool certified, and (B,) bool cut off by the deadline."""
        try:
            known = intervals(self.graph, self.ball)
            self._bound(torch.arange(len(self.y), device=self.y.device), known)
            self._sharpen(known, deadline)
        except OutOfTimeError:
            return self.decided, ~self.decided
        return self.decided, torch.zeros_like(self.decided)

    def _sharpen(self, known: list[Interval], deadline: Deadline) -> None:
        open_ = (~self.decided).nonzero().flatten()
        if not len(open_):
            return
        ball = self.ball.among(open_)
        known = [(low[open_], high[open_]) for low, high in known]
        known = refined(self.graph, ball, known, deadline)
        self._bound(open_, known)
        still = ~self.decided[open_]
        known = [(low[still], high[still]) for low, high in known]
        if bool(still.any()):
            lines = relaxations(self.graph, known)
            self._optimise(open_[still], lines, ball.among(still.nonzero().flatten()), deadline)

    def _bound(self, at: Tensor, known: list[Interval]) -> None:
        """Bound the margins of the images `at` by CROWN over these intervals of theirs."""
        rows = self.rows[at].flatten(0, 1)
        owner = torch.arange(len(at), device=at.device).repeat_interleave(self.graph.classes)
        lines, last = relaxations(self.graph, known), len(self.graph.steps) - 1
        bound = least(self.graph, last, rows, owner, lines, self.ball.among(at))
        self.bounds[at] = torch.maximum(self.bounds[at], bound.view(len(at), -1))

    def _optimise(
        self, at: Tensor, lines: dict[int, Relaxation], ball: Ball, deadline: Deadline
    ) -> None:
        """Bound the open margins of the images `at` by CROWN with optimised slopes."""
        wanted = self.bounds[at] <= self.enough[at, None]
        wanted.scatter_(1, self.y[at, None], value=False)
        image, rival = wanted.nonzero().unbind(1)
        rows = self.rows[at][image, rival]
        bound = optimised(
            self.graph,
            lambda: rows,
            image,
            lines,
            ball,
            enough=self.enough[at][image],
            deadline=deadline,
        )
        better = torch.maximum(self.bounds[at[image], rival], bound)
        self.bounds[at[image], rival] = better
        if self.kept == "right" or bool(self.decided[at].all()):
            return
        bounds = self.bounds[at].scatter(1, self.y[at, None], -torch.inf)
        mean = mean_above_true(
            self.graph,
            self.y[at],
            bounds,
            lines,
            ball,
            enough=self.enough[at],
            deadline=deadline,
        )
        best = bounds.argmax(1)  # a mean above z_y means that some class is
        self.bounds[at, best] = torch.maximum(self.bounds[at, best], mean)
