"""Auto-PGD a second time (Croce & Hein 2020, alg. 1): one example, one start."""

import math
from collections.abc import Callable

from plain_pgd import to_ball, uphill
from torch import Tensor


def checkpoints(steps: int) -> list[int]:
    """w_1, w_2, ...: as the authors' code rounds them, whole waits, each a little shorter."""
    wait = max(int(0.22 * steps), 1)
    checks = [wait]
    while checks[-1] < steps:
        wait = max(wait - max(int(0.03 * steps), 1), max(int(0.06 * steps), 1))
        checks.append(checks[-1] + wait)
    return checks


def printed_checkpoints(steps: int) -> list[int]:
    """w_j = ceil(p_j N) with p_(j+1) = p_j + max(p_j - p_(j-1) - .03, .06), in hundredths."""
    before, now, checks = 0, 22, []
    while now <= 100:
        checks.append(math.ceil(now * steps / 100))
        before, now = now, now + max(now - before - 3, 6)
    return checks


def apgd(
    ask: Callable[[Tensor], tuple[float, Tensor]],
    x: Tensor,
    x_start: Tensor,
    *,
    steps: int,
    norm: str,
    eps: float,
) -> tuple[list[Tensor], list[float], list[float], Tensor]:
    """The iterates, their losses, the length of each step, and the best iterate.

    Args:
        ask: the loss at a point, and its gradient.
    """
    length = 2 * eps
    before = now = x_start
    loss, grad = ask(now)
    points, losses, lengths = [now], [loss], []
    best, loss_best, grad_best = now, loss, grad
    checks, last, halved, loss_best_last = checkpoints(steps), 0, True, loss
    for k in range(steps):
        lengths.append(length)
        z = to_ball(now + length * uphill(grad, norm), x, norm, eps)
        if k > 0:
            z = to_ball(now + 0.75 * (z - now) + 0.25 * (now - before), x, norm, eps)
        loss, grad = ask(z)
        before, now = now, z
        points.append(now)
        losses.append(loss)
        if loss > loss_best:
            best, loss_best, grad_best = now, loss, grad
        if k + 1 in checks:
            rose = sum(losses[i + 1] > losses[i] for i in range(last, k + 1))
            # The paper says "<"; the authors' code, and so everybody's numbers, "<=".
            too_few = rose <= 0.75 * (k + 1 - last)
            # Same length and same best loss at two checkpoints; the start does not count as one.
            in_vain = not halved and loss_best == loss_best_last
            halved, last, loss_best_last = too_few or in_vain, k + 1, loss_best
            if halved:
                length, now, grad = length / 2, best, grad_best
    return points, losses, lengths, best
