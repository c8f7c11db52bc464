"""Square a second time (Andriushchenko et al. 2020, alg. 1-3): one example, one start.

Images are numpy arrays (C, H, W), and every pixel has its own line of thought.
"""

import math

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float64]


def sides(height: int, width: int, queries: int) -> list[int]:
    """The side of each square: p = .8 of the pixels, halved along 10,000 queries (sec. 3.1)."""
    found = []
    for query in range(queries):
        of_ten_thousand = math.floor(query / queries * 10_000)
        p = 0.8
        for halved in (10, 50, 200, 1000, 2000, 4000, 6000, 8000):
            p = p / 2 if of_ten_thousand > halved else p
        side = max(round(math.sqrt(p * height * width)), 1)
        found.append(min(side, height, width))
    return found


def odd(side: int) -> int:
    """What l2 takes instead, as in the authors' code: odd, and at least 3."""
    return max(side + 1 - side % 2, 3)


def bump(height: int, width: int) -> Image:
    """eta^(h1, h2): squares about the middle pixel, that of radius r with weight 1 / (r + 1)^2."""
    out = np.zeros((height, width))
    for radius in range(max(height // 2, width // 2) + 1):
        for i in range(height):
            for j in range(width):
                if abs(i - height // 2) <= radius and abs(j - width // 2) <= radius:
                    out[i, j] += 1 / (radius + 1) ** 2
    return out / np.sqrt((out**2).sum())


def eta(side: int) -> Image:
    """A bump above, a dent below, of length 1 (eq. 2)."""
    if side == 1:
        return np.ones((1, 1))
    both = np.concatenate([bump(side // 2, side), -bump(side - side // 2, side)])
    return both / np.sqrt((both**2).sum())


def to_ball(x_pert: Image, x: Image, norm: str, eps: float) -> Image:
    delta = x_pert - x
    if norm == "linf":
        delta = np.clip(delta, -eps, eps)
    else:
        delta = delta * min(1, eps / max(np.sqrt((delta**2).sum()), 1e-300))
    return np.clip(x + delta, 0, 1)


def sign(draw: float) -> int:
    return 1 if draw < 0.5 else -1


def stripes(x: Image, draws: Image, eps: float) -> Image:
    """The start in linf: a vertical stripe a column and channel; draws are (C, W)."""
    out = x.copy()
    for c, _, j in np.ndindex(*x.shape):
        out[c, _, j] += eps * sign(draws[c, j])
    return to_ball(out, x, "linf", eps)


def tiles(x: Image, draws: Image, eps: float) -> Image:
    """The start in l2: bumps side by side, about five along the shorter edge, cut at the ends."""
    tile = max(min(x.shape[1:]) // 5, 1)
    delta = np.zeros_like(x)
    for c, i, j in np.ndindex(*x.shape):
        delta[c, i, j] = eta(tile)[i % tile, j % tile] * sign(draws[c, i // tile, j // tile])
    return to_ball(x + eps * delta / np.sqrt((delta**2).sum()), x, "l2", eps)


def corner(draw: float, size: int, side: int) -> int:
    """Uniform in 0, ..., size - side."""
    return int(draw * (size - side + 1))


def square_of_colour(best: Image, x: Image, draw: Image, side: int, eps: float) -> Image:
    """Alg. 2: +eps or -eps a channel, over one square."""
    out = best.copy()
    top, left = (corner(d, n, side) for d, n in zip(draw[:2], x.shape[1:], strict=True))
    for c in range(len(x)):
        window = np.s_[c, top : top + side, left : left + side]
        out[window] = x[window] + eps * sign(draw[5 + c])
    return to_ball(out, x, "linf", eps)


def shifted_mass(best: Image, x: Image, draw: Image, side: int, eps: float) -> Image:
    """Alg. 3: the mass of W1 and W2, and what is unspent, goes to W1; W2 is emptied."""
    side = min(odd(side), *x.shape[1:])
    nu = best - x
    starts = [
        corner(d, n, side) for d, n in zip(draw[:4], (*x.shape[1:], *x.shape[1:]), strict=True)
    ]
    one, two = np.zeros(x.shape[1:], bool), np.zeros(x.shape[1:], bool)
    w1 = np.s_[starts[0] : starts[0] + side, starts[1] : starts[1] + side]
    w2 = np.s_[starts[2] : starts[2] + side, starts[3] : starts[3] + side]
    one[w1], two[w2] = True, True
    unused = max(eps**2 - (nu**2).sum(), 0)
    fresh = eta(side).T if draw[4] < 0.5 else eta(side)
    new = nu.copy()
    for c in range(len(x)):
        old = nu[c][w1]
        temp = sign(draw[5 + c]) * fresh + old / max(np.sqrt((old**2).sum()), 1e-12)
        available = np.sqrt((nu[c][one | two] ** 2).sum() + unused / len(x))
        new[c][w2] = 0
        new[c][w1] = temp / np.sqrt((temp**2).sum()) * available
    return to_ball(x + eps * new / np.sqrt((new**2).sum()), x, "l2", eps)
