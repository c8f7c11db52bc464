"""The nearest point of a hyperplane inside the box a second time, by bisection."""

from torch import Tensor


def to_plane(x: Tensor, w: Tensor, c: float, norm: str) -> Tensor:
    """The least delta with <w, delta> = c and x + delta in [0, 1], else the nearest corner.

    Every pixel goes its gradient's way, for linf all equally far, for l2 in proportion to it,
    until it meets a wall.
    """
    w, c = (w, c) if c >= 0 else (-w, -c)
    speed = w.sign() if norm == "linf" else w

    def moved(reach: float) -> Tensor:
        return (x + reach * speed).clamp(0, 1) - x

    low, high = 0.0, 1.0
    while float((w * moved(high)).sum()) < c and high < 1e9:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if float((w * moved(middle)).sum()) >= c else (middle, high)
    return moved(high)


def length(delta: Tensor, norm: str) -> float:
    return float(delta.abs().max() if norm == "linf" else delta.square().sum().sqrt())
