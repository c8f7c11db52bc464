"""Names of the points of a front: none twice, and none over a point, a bar or another name."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import isfinite
from typing import Any

from fftune.sweeping.trial_results import TrialResult

WIDTH, HEIGHT = 900, 440
"""Pixels of a plot's area, about: a page of 72rem."""
LETTER, LINE = 7, 15
"""Pixels of a letter of a name, and of its line."""
AWAY = 7
"""Pixels between a point and its name."""

Range = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, bottom, right, top, in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point with its intervals, as fractions."""

    x: Range
    """Ends of its interval."""
    y: Range
    at: tuple[float, float]
    name: str
    color: str


def point_names(trials: Sequence[TrialResult]) -> dict[int, str]:
    """Name of each trial's point: its lambda, with the trial's number where another has the same.

    Trials that train nothing go by their numbers.
    """
    known = {t.trial: "" if t.lam is None else f"{t.lam:.3g}" for t in trials}
    often = Counter(known.values())
    return {
        number: name if name and often[name] == 1 else f"{name} #{number}".strip()
        for number, name in known.items()
    }


def spread(points: Sequence[Point]) -> tuple[Range, Range]:
    """Ranges of both axes that hold all points with their intervals, and some room."""
    return _with_room([p.x for p in points]), _with_room([p.y for p in points])


def labels(points: Sequence[Point], ranges: tuple[Range, Range]) -> list[dict[str, Any]]:
    """Annotations of Plotly that name the points, each in the freest of eight places beside it.

    A point whose name would lie over another's has none, as where hundreds crowd.

    Args:
        points: the more important first.
        ranges: of both axes.
    """
    at = [_pixels(point.at, ranges) for point in points]
    taken = [box for point in points for box in _bars(point, ranges)]
    taken += [(x - 5, y - 5, x + 5, y + 5) for x, y in at]
    found = []
    names: list[Box] = []
    for point, place in zip(points, at, strict=True):
        box = min(_places(place, len(point.name)), key=lambda box: sum(_shared(box, taken)))
        if sum(_shared(box, names)):
            continue
        taken.append(box)
        names.append(box)
        middle = (box[0] + box[2]) / 2 - place[0], (box[1] + box[3]) / 2 - place[1]
        found.append(
            {
                "x": point.at[0],
                "y": point.at[1],
                "text": point.name,
                "showarrow": False,
                "xshift": middle[0],
                "yshift": middle[1],
                "font": {"color": point.color, "size": 12},
                "bgcolor": "rgba(255, 255, 255, 0.75)",
                "borderpad": 0,
            }
        )
    return found


def _with_room(intervals: Sequence[Range]) -> Range:
    ends = [end for pair in intervals for end in pair if isfinite(end)]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    room = 0.06 * (high - low or 0.1)
    return low - room, high + room


def _pixels(at: tuple[float, float], ranges: tuple[Range, Range]) -> tuple[float, float]:
    (left, right), (bottom, top) = ranges
    return (at[0] - left) / (right - left) * WIDTH, (at[1] - bottom) / (top - bottom) * HEIGHT


def _bars(point: Point, ranges: tuple[Range, Range]) -> Iterator[Box]:
    """The two bars of a point, of three pixels."""
    x, y = _pixels(point.at, ranges)
    (left, bottom), (right, top) = (
        _pixels((point.x[end], point.y[end]), ranges) for end in range(2)
    )
    if isfinite(left) and isfinite(right):
        yield left, y - 1.5, right, y + 1.5
    if isfinite(bottom) and isfinite(top):
        yield x - 1.5, bottom, x + 1.5, top


def _places(at: tuple[float, float], letters: int) -> Iterator[Box]:
    """Boxes for a name of so many letters around a point: corners first, then the sides."""
    width = LETTER * letters
    across = at[0] + AWAY, at[0] - AWAY - width, at[0] - width / 2
    up = at[1] + AWAY, at[1] - AWAY - LINE, at[1] - LINE / 2
    for right, top in product(range(3), range(3)):
        if (right, top) != (2, 2):
            x, y = across[right], up[top]
            yield x, y, x + width, y + LINE


def _shared(box: Box, taken: Sequence[Box]) -> Iterator[float]:
    """Pixels that a box shares with each of others."""
    for other in taken:
        width = min(box[2], other[2]) - max(box[0], other[0])
        height = min(box[3], other[3]) - max(box[1], other[1])
        yield max(width, 0) * max(height, 0)
