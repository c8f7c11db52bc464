"""A set against its original: which examples differ, by how much, and whose labels were changed.

Examples are compared by SHA-256 of their 8-bit pixels, wherever they stand and however their files
are called. What has no equal is paired with the example of the same id if that is near, and then
with the nearest one that is left.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fftune.config.attack import PIXEL
from fftune.data import Dataset
from fftune.errors import DataError
from fftune.verdict import Outcome

NEAR = 0.1
"""Largest mean change of a pixel, in [0, 1], by which two images count as one that was touched.

Unrelated photographs differ by some 0.25, a ball of 8/255 by at most 0.03.
"""
PIECE = 512
"""Examples that are compared with all others at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One example that is not as it was."""

    id: int
    """Its id in the set."""
    original_id: int
    label: str
    original_label: str
    linf: int
    """Largest change of a pixel, in steps of 1/255; 0 where the label alone was changed."""
    pixels: int
    """Values that changed."""

    def __str__(self) -> str:
        parts = []
        if self.pixels:
            parts.append(f"{self.pixels:,} values changed by up to {self.linf}/{PIXEL}")
        if self.label != self.original_label:
            parts.append(f"label {self.original_label!r} is now {self.label!r}")
        return f"id {self.id}: {', '.join(parts)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactComparison:
    """All differences between a set and its original; exact facts, without an interval."""

    examples: int
    original_examples: int
    digest: str
    """16 hex digits of all examples' pixels and labels, whatever their order."""
    original_digest: str
    changed: tuple[Change, ...]
    """Examples whose pixels or labels differ."""
    missing: tuple[int, ...]
    """Ids of the original that the set lacks."""
    added: tuple[int, ...]
    """Ids of the set that have no like in the original."""

    @property
    def touched(self) -> tuple[Change, ...]:
        """Examples whose pixels differ."""
        return tuple(one for one in self.changed if one.pixels)

    @property
    def relabelled(self) -> tuple[Change, ...]:
        """Examples whose labels differ."""
        return tuple(one for one in self.changed if one.label != one.original_label)

    @property
    def outcome(self) -> Outcome:
        """`pass` only where every example is as it was."""
        return "fail" if self.changed or self.missing or self.added else "pass"


def compare(data: Dataset, original: Dataset) -> ExactComparison:
    """Compare a set with its original.

    Raises:
        DataError: their images are of different shapes.
    """
    if data.shape != original.shape:
        raise DataError(
            f"against: images of {original.source.name!r} are {_told(original)}, those of "
            f"{data.source.name!r} {_told(data)}"
        )
    pixels, were = levels_of(data), levels_of(original)
    ours, theirs = digests(pixels), digests(were)
    names, old_names = _label_names(data, original)
    pairs = _equal(ours, theirs, data, original)
    left, left_old = _rest(len(data), pairs.keys()), _rest(len(original), pairs.values())
    pairs |= _near(pixels, were, left, left_old, data.ids, original.ids)
    found = [
        _change(data, original, at, old, names, old_names, pixels, were)
        for at, old in sorted(pairs.items())
        if ours[at] != theirs[old] or names[int(data.y[at])] != old_names[int(original.y[old])]
    ]
    return ExactComparison(
        examples=len(data),
        original_examples=len(original),
        digest=set_digest(ours, [names[int(y)] for y in data.y]),
        original_digest=set_digest(theirs, [old_names[int(y)] for y in original.y]),
        changed=tuple(found),
        missing=tuple(int(original.ids[i]) for i in _rest(len(original), pairs.values())),
        added=tuple(int(data.ids[i]) for i in _rest(len(data), pairs.keys())),
    )


def levels_of(data: Dataset) -> Tensor:
    """(N, C, H, W) uint8, the pixels on 256 levels, as a PNG holds them."""
    if data.source.levels == PIXEL:
        return data.pixels
    return (data.pixels.float() * PIXEL / data.source.levels).round().to(torch.uint8)


def digests(pixels: Tensor) -> list[str]:
    """SHA-256 of each of (N, C, H, W) uint8 images, channels last as a file has them."""
    rows = pixels.permute(0, 2, 3, 1).contiguous().numpy()
    return [hashlib.sha256(row.tobytes()).hexdigest() for row in rows]


def set_digest(examples: Sequence[str], labels: Sequence[str]) -> str:
    """16 hex digits of a set of digests with their labels, in no order."""
    lines = sorted(f"{one} {label}" for one, label in zip(examples, labels, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _equal(
    ours: Sequence[str], theirs: Sequence[str], data: Dataset, original: Dataset
) -> dict[int, int]:
    """Pairs of equal pixels; of several, those with the same id or the same label first."""
    places = defaultdict(list)
    for old, digest in enumerate(theirs):
        places[digest].append(old)
    ids, labels = original.ids.tolist(), original.y.tolist()
    pairs = {}
    for at, digest in enumerate(ours):
        free = places.get(digest)
        if free:
            mine = int(data.ids[at]), int(data.y[at])
            best = min(free, key=lambda old: (ids[old] != mine[0], labels[old] != mine[1]))
            free.remove(best)
            pairs[at] = best
    return pairs


def _near(
    pixels: Tensor, were: Tensor, left: list[int], left_old: list[int], ids: Tensor, old: Tensor
) -> dict[int, int]:
    """Pairs of images that are near each other: of one id, else the nearest that is left."""
    by_id = {int(old[i]): i for i in left_old}
    pairs = {}
    for at in left:
        same = by_id.get(int(ids[at]))
        if same is not None and _apart(pixels[at], were[same]) < NEAR:
            pairs[at] = same
    taken = set(pairs.values())
    rest = [i for i in left_old if i not in taken]
    candidates = [(d, a, o) for d, a, o in _nearest(pixels, were, left, rest, set(pairs))]
    for _, at, one in sorted(candidates):
        if one not in taken and at not in pairs:
            pairs[at] = one
            taken.add(one)
    return pairs


def _nearest(
    pixels: Tensor, were: Tensor, left: list[int], rest: list[int], done: set[int]
) -> Iterable[tuple[float, int, int]]:
    """Distance and places of each unpaired example and the original that is nearest to it."""
    open_ = [at for at in left if at not in done]
    if not open_ or not rest:
        return
    olds = were[rest].flatten(1).float() / PIXEL
    for piece in torch.tensor(open_).split(PIECE):
        apart = torch.cdist(pixels[piece].flatten(1).float() / PIXEL, olds, p=2)
        nearest = apart.argmin(1)
        for at, one in zip(piece.tolist(), nearest.tolist(), strict=True):
            mean = _apart(pixels[at], were[rest[one]])
            if mean < NEAR:
                yield mean, at, rest[one]


def _apart(one: Tensor, other: Tensor) -> float:
    """Mean change of a pixel, in [0, 1]."""
    return float((one.float() - other.float()).abs().mean()) / PIXEL


def _change(
    data: Dataset,
    original: Dataset,
    at: int,
    old: int,
    names: Mapping[int, str],
    old_names: Mapping[int, str],
    pixels: Tensor,
    were: Tensor,
) -> Change:
    moved = (pixels[at].int() - were[old].int()).abs()
    return Change(
        id=int(data.ids[at]),
        original_id=int(original.ids[old]),
        label=names[int(data.y[at])],
        original_label=old_names[int(original.y[old])],
        linf=int(moved.max()),
        pixels=int((moved > 0).sum()),
    )


def _label_names(data: Dataset, original: Dataset) -> tuple[dict[int, str], dict[int, str]]:
    """Names of labels; numbers for both where the sets share no name of a class."""
    ours, theirs = data.source.classes, original.source.classes
    if not set(ours) & set(theirs):
        return ({i: str(i) for i in range(len(ours))}, {i: str(i) for i in range(len(theirs))})
    return dict(enumerate(ours)), dict(enumerate(theirs))


def _rest(count: int, taken: Iterable[int]) -> list[int]:
    held = set(taken)
    return [i for i in range(count) if i not in held]


def _told(data: Dataset) -> str:
    return "x".join(map(str, data.shape))
