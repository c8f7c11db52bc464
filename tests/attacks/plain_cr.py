"""Constraint relaxation a second time (Pan et al. 2025): one example, in cycles of thirds."""

from collections.abc import Callable, Iterator

from plain_pgd import to_ball, uphill
from torch import Tensor

Ask = Callable[[Tensor], tuple[float, Tensor, bool]]
"""Lead, its gradient, and whether the goal is reached, at a point."""
Draw = Callable[[int, Tensor, float], Tensor]
"""A point moved at random in a cycle, by at most so much."""


class Passes:
    """Counts what is asked."""

    def __init__(self) -> None:
        self.forwards = self.backwards = 0


def points(
    ask: Ask,
    x: Tensor,
    x_start: Tensor,
    draw: Draw,
    *,
    steps: int,
    norm: str,
    eps: float,
    unit: float,
    passes: Passes,
) -> Iterator[tuple[Tensor, float, bool]]:
    """Every point of the ball that is asked about, with its lead and success."""  # fmt: skip

    def inside(point: Tensor, radius: float = eps) -> Tensor:
        return to_ball(point, x, norm, radius)

    cycle = max(steps // 5, 1)
    third, here, lead = cycle // 3, x_start, 0.0
    for k in range(steps):
        now, at = divmod(k, cycle)
        share = max(0.5 / 2**now, 0.05)
        relaxed = at < third
        if third and at == third:
            here = inside(here)
        if at == 2 * third:
            here = draw(now, inside(here, (1 - share) * eps), share * eps)
        lead, grad, won = ask(here)
        passes.forwards += 1
        passes.backwards += 1
        if not relaxed:
            yield here, lead, won
        here = here + share * eps * uphill(grad, norm)
        here = inside(here, (1 + share) * eps if relaxed else eps)
        if relaxed:
            passes.forwards += 1
            yield inside(here), *ask(inside(here))[::2]
        if third and at == 2 * third - 1 and lead < -0.5 * share * unit:
            return
