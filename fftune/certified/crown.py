"""CROWN: linear bounds of a net, carried back from its logits to its images.

A ReLU whose input lies between l < 0 and u > 0 is bounded from above by the chord u (z - l) /
(u - l), from below by a line a z, 0 <= a <= 1; here a is 1 where u > -l, else 0, unless slopes are
given (Zhang et al. 2018; Xu et al. 2021 for slopes that are optimised).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from fftune.certified.graph import Graph
from fftune.certified.interval import Ball, Interval, advanced
from fftune.certified.time_limit import Deadline

AT_ONCE = 2**20
"""Most values of a step for all linear functions that are carried back together."""
FEW = 32
"""Linear functions of an image from which on they are carried back apart from those of others."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Relaxation:
    """Lines that bound one ReLU step of B images, (B, *shape) each."""

    chord: Tensor
    """Slope of the upper line."""
    intercept: Tensor
    """Height of the upper line at 0."""
    line: Tensor
    """Slope of the lower line, through 0."""
    is_free: Tensor
    """Bool: the sign of its input is open, so that the lower slope may be chosen in [0, 1]."""

    @classmethod
    def of(cls, low: Tensor, high: Tensor) -> "Relaxation":
        """The lines for inputs in an interval."""
        is_free, on = (low < 0) & (high > 0), (low >= 0).to(low)
        chord = torch.where(is_free, high / (high - low).clamp_min(1e-30), on)
        return cls(
            chord=chord,
            intercept=torch.where(is_free, -low * chord, 0.0),
            line=torch.where(is_free, (high > -low).to(low), on),
            is_free=is_free,
        )

    def back(self, c: Tensor, owner: Tensor, slopes: Tensor | None) -> tuple[Tensor, Tensor]:
        """Bound c ReLU(z) from below by c' z + a constant.

        Args:
            c: (R, *shape).
            owner: (R,) int64, or one for all.
            slopes: (R, *shape) of the lower lines, where they are free; default `line`.

        Returns:
            (R, *shape) c', and (R,) the constants.
        """
        line, chord = self.line[owner], self.chord[owner]
        if slopes is not None:
            line = torch.where(self.is_free[owner], slopes, line)
        falling, intercept = c.clamp_max(0).flatten(1), self.intercept[owner].flatten(1)
        shift = falling @ intercept[0] if len(owner) == 1 else (falling * intercept).sum(1)
        return torch.where(c > 0, c * line, c * chord), shift


def relaxations(graph: Graph, known: list[Interval]) -> dict[int, Relaxation]:
    """Lines for every ReLU step whose inputs are known, by its index."""
    inputs = ((i, graph.steps[i].inputs[0]) for i in graph.rectified)
    return {i: Relaxation.of(*known[source]) for i, source in inputs if source < len(known)}


def least(
    graph: Graph,
    index: int,
    coefficients: Tensor,
    owner: Tensor,
    lines: Mapping[int, Relaxation],
    ball: Ball,
    slopes: Mapping[int, Tensor] | None = None,
) -> Tensor:
    """Bound linear functions of a step's output from below, over the ball.

    Args:
        coefficients: (R, *shape) of the step's output.
        owner: (R,) int64, the image that each is of; or (1,), that of all.
        lines: of the ReLU steps before it; see `relaxations`.
        slopes: (R, *shape) in [0, 1] of lower lines, by the index of a ReLU step.

    Returns:
        (R,).
    """
    pending: dict[int, Tensor] = {index: coefficients}
    total = coefficients.new_zeros(len(coefficients))
    for at in range(index, 0, -1):
        if (c := pending.pop(at, None)) is None:
            continue
        step = graph.steps[at]
        if step.maps is None:
            back, shift = lines[at].back(c, owner, None if slopes is None else slopes[at])
            total = total + shift
            pulled: tuple[Tensor, ...] = (back,)
        else:
            total = total + c.flatten(1) @ step.offset.flatten()
            pulled = step.maps.pull(c, graph.shapes_into(at))
        for source, part in zip(step.inputs, pulled, strict=True):
            pending[source] = pending[source] + part if source in pending else part
    return total + ball.least(pending[0], owner)


def refined(graph: Graph, ball: Ball, known: list[Interval], deadline: Deadline) -> list[Interval]:
    """Sharpen intervals: those into each ReLU by CROWN, in order, where their sign is open.

    Args:
        known: of `interval.intervals`.

    Raises:
        OutOfTimeError: the deadline is over.
    """
    found: list[Interval] = [known[0]]
    lines: dict[int, Relaxation] = {}
    # Before any ReLU intervals are as sharp as CROWN, except of a round ball.
    is_loose = [ball.norm == "l2"]
    for index in range(1, len(graph.steps)):
        step = graph.steps[index]
        is_loose.append(step.kind == "relu" or any(is_loose[i] for i in step.inputs))
        if step.kind == "relu" and is_loose[source := step.inputs[0]]:
            found[source] = _sharpened(graph, source, found[source], lines, ball, deadline)
        if step.kind == "relu":
            lines[index] = Relaxation.of(*found[step.inputs[0]])
        (low, high), (before_low, before_high) = advanced(graph, index, found), known[index]
        found.append((torch.maximum(low, before_low), torch.minimum(high, before_high)))
    return found


def _sharpened(
    graph: Graph,
    index: int,
    known: Interval,
    lines: Mapping[int, Relaxation],
    ball: Ball,
    deadline: Deadline,
) -> Interval:
    low, high = (end.flatten(1).clone() for end in known)
    owner, neuron = ((low < 0) & (high > 0)).nonzero().unbind(1)
    shape = graph.steps[index].shape
    for rows in parts(graph, owner):
        deadline.check()
        mine, which = owner[rows], neuron[rows]
        one = low.new_zeros(len(mine), low.shape[1])
        one.scatter_(1, which[:, None], 1.0)
        one = one.view(-1, *shape)
        alone = mine[:1] if bool((mine == mine[0]).all()) else mine
        up = least(graph, index, one, alone, lines, ball)
        down = -least(graph, index, -one, alone, lines, ball)
        low[mine, which] = torch.maximum(low[mine, which], up)
        high[mine, which] = torch.minimum(high[mine, which], down)
    return low.view(-1, *shape), high.view(-1, *shape)


def parts(graph: Graph, owner: Tensor) -> Iterator[slice]:
    """Cut rows, sorted by the image that each is of, into parts that fit `AT_ONCE`."""
    most = max(1, AT_ONCE // max(prod(step.shape) for step in graph.steps))
    counts: list[int] = owner.unique_consecutive(return_counts=True)[1].tolist()
    apart = len(counts) > 0 and len(owner) >= FEW * len(counts)
    first = 0
    for count in counts if apart else [len(owner)]:
        for start in range(first, first + count, most):
            yield slice(start, min(start + most, first + count))
        first += count
