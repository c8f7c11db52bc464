"""Checks that need labels: is the net more accurate on images of another range, order or mean?

A net that was trained on images of another kind is more accurate on those.
"""

from collections.abc import Callable, Mapping
from math import sqrt

import torch
from torch import Tensor

from fftune.comparison import Paired
from fftune.lint.finding import FIRST, Finding, Query, answers
from fftune.risk import Rate

CHANCE = "no-better-than-chance"
"""Code of the remark on a net that seems to guess."""
BETTER, LEVEL = 0.01, 0.001
"""Gain in accuracy that is remarked on, and level of McNemar's test for it; six sound nets gain
0.002 at most on 1,000 images."""
HOPE = 3
"""Standard deviations by which the gain on the images so far may still grow."""

Change = Callable[[Tensor], Tensor]


def accuracies(query: Query) -> list[Finding]:
    """Findings of all checks of accuracy; with a single class nothing can be wrong."""
    found = [normalisation(query), input_range(query)]
    if query.dataset.shape[0] == 3:
        found.append(channel_order(query))
    return [better_than_chance(query), *found] if query.classes > 1 else found


def better_than_chance(query: Query) -> Finding:
    """Check that the net is more accurate than guessing, as far as the examples can tell."""
    chance = 1 / query.classes
    for count in (min(FIRST, query.many), query.many):
        hits, _ = _right(query, count)
        right = Rate(int(hits.sum()), len(hits))
        low, high = right.interval
        sound = low > chance
        if sound:
            break
    # On a few examples a good net may look bad: remark only on what it would hardly show.
    sound = sound or high > (1 + chance) / 2
    return Finding(
        code=CHANCE,
        sound=sound,
        figures=f"clean accuracy {right} is {'' if sound else 'no '}better than chance, "
        f"1 of {query.classes}",
        advice="are these the net's images, in [0, 1], its labels in this order, and its "
        "normalisation inside it?",
    )


def normalisation(query: Query) -> Finding:
    """Check that the net is not more accurate on images that are normalised, or partly so."""
    mean, std = (
        torch.tensor(values, device=query.device, dtype=torch.float32).view(1, -1, 1, 1)
        for values in (query.dataset.source.mean, query.dataset.source.std)
    )
    sound, figures = _none_better(
        query,
        {
            "normalised images": lambda x: (x - mean) / std,
            "images less their mean": lambda x: x - mean,
            "images whose normalisation is undone": lambda x: x * std + mean,
        },
        "that on [0, 1]",
    )
    return Finding(
        code="normalisation-outside",
        sound=sound,
        figures=figures,
        advice="put the net's normalisation inside it, once, as images come in [0, 1]",
    )


def input_range(query: Query) -> Finding:
    """Check that pixels fill [0, 1] and the net is not more accurate on [0, 255] or [-1, 1]."""
    _, x, _ = query.some(FIRST)
    low, high = float(x.min()), float(x.max())
    scales: Mapping[str, Change] = {
        "[0, 255]": lambda x: 255 * x,
        "[-1, 1]": lambda x: 2 * x - 1,
    }
    sound, figures = _none_better(query, scales, "that on [0, 1]")
    return Finding(
        code="input-range",
        sound=sound and high - low > 0.1,
        figures=lambda: f"pixels from {low:g} to {high:g}; {figures()}",
        advice="a net must take images in [0, 1]: scale them inside it",
    )


def channel_order(query: Query) -> Finding:
    """Check that the net is not more accurate with red and blue exchanged."""
    sound, figures = _none_better(
        query, {"images whose channels are reversed": lambda x: x.flip(1)}, "that on RGB"
    )
    return Finding(
        code="channel-order",
        sound=sound,
        figures=figures,
        advice="images come as RGB: reverse the channels inside the net that wants BGR",
    )


def _none_better(
    query: Query, changes: Mapping[str, Change], than: str
) -> tuple[bool, Callable[[], str]]:
    """Compare accuracies: True if no change of the images helps; and what tells the figures."""
    compared = {name: _compared(query, change) for name, change in changes.items()}

    def figures() -> str:
        return "; ".join(f"accuracy on {k} less {than}: {v}" for k, v in compared.items())

    return not any(_better(paired, query) for paired in compared.values()), figures


def _right(query: Query, count: int) -> tuple[Tensor, Tensor]:
    """(count,) bool, correct predictions; and (count,) int64 labels."""
    y = query.some(count)[2]
    parts = range(-(-count // FIRST))
    return torch.cat([query.part(at).argmax(1) for at in parts])[:count] == y, y


def _compared(query: Query, change: Change) -> Paired:
    """Pair the correct predictions on changed images with those on the images as they are."""
    _, x, y = query.some(query.many)
    n = both = gained = lost = 0
    for at, (images, labels) in enumerate(zip(x.split(FIRST), y.split(FIRST), strict=True)):
        here = query.part(at).argmax(1) == labels
        there = answers(query.net, change(images)).argmax(1) == labels
        n, both = n + len(labels), both + int((here & there).sum())
        gained, lost = gained + int((there & ~here).sum()), lost + int((here & ~there).sum())
        if (gained - lost) + HOPE * sqrt(gained + lost + 1) < BETTER * n:
            break
    return Paired(n=n, both=both, gained=gained, lost=lost)


def _better(paired: Paired, query: Query) -> bool:
    """Is the net better than chance on changed images, and better than on the original ones?"""
    low = Rate(paired.both + paired.gained, paired.n).interval[0] > 1 / query.classes
    return low and paired.gain > BETTER and paired.p_value < LEVEL
