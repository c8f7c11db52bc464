"""Questions that only labels can answer: is the net right about these images, or about others?

A net that wants its images otherwise is right more often where they are given to it so.
"""

from collections.abc import Callable, Mapping
from math import sqrt

import torch
from torch import Tensor

from fftune.comparison import Paired
from fftune.lint.finding import FIRST, Finding, Query, answers
from fftune.risk import Rate

BETTER, LEVEL = 0.01, 0.001
"""The gain in accuracy that is remarked on, and the level of McNemar's test for it; six sound nets
gain .002 at most on 1,000 images."""
HOPE = 3
"""Standard deviations of the gain on the images so far by which it may still grow."""

Change = Callable[[Tensor], Tensor]


def accuracies(asked: Query) -> list[Finding]:
    """The answers of one data set; of a single class none can be wrong."""
    found = [normalisation(asked), input_range(asked)]
    if asked.dataset.shape[0] == 3:
        found.append(channel_order(asked))
    return [better_than_chance(asked), *found] if asked.classes > 1 else found


def better_than_chance(asked: Query) -> Finding:
    """The net is right more often than a guess, as far as so many examples can tell."""
    chance = 1 / asked.classes
    for count in (min(FIRST, asked.many), asked.many):
        hits, _ = _right(asked, count)
        right = Rate(int(hits.sum()), len(hits))
        low, high = right.interval
        sound = low > chance
        if sound:
            break
    # Of a few examples nothing may be said: only what a good net would hardly show.
    sound = sound or high > (1 + chance) / 2
    return Finding(
        code="no-better-than-chance",
        sound=sound,
        figures=f"clean accuracy {right} is {'' if sound else 'no '}better than chance, "
        f"1 of {asked.classes}",
        advice="are these the net's images, in [0, 1], its labels in this order, and its "
        "normalisation inside it?",
    )


def normalisation(asked: Query) -> Finding:
    """The net does not do better on images that are normalised, or half so, or less so."""
    mean, std = (
        torch.tensor(values, device=asked.device, dtype=torch.float32).view(1, -1, 1, 1)
        for values in (asked.dataset.source.mean, asked.dataset.source.std)
    )
    sound, figures = _none_better(
        asked,
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


def input_range(asked: Query) -> Finding:
    """Pixels fill [0, 1], and the net does not do better on [0, 255] or [-1, 1]."""
    _, x, _ = asked.some(FIRST)
    low, high = float(x.min()), float(x.max())
    scales: Mapping[str, Change] = {
        "[0, 255]": lambda x: 255 * x,
        "[-1, 1]": lambda x: 2 * x - 1,
    }
    sound, figures = _none_better(asked, scales, "that on [0, 1]")
    return Finding(
        code="input-range",
        sound=sound and high - low > 0.1,
        figures=f"pixels from {low:g} to {high:g}; {figures}",
        advice="a net must take images in [0, 1]: scale them inside it",
    )


def channel_order(asked: Query) -> Finding:
    """The net does not do better where red and blue are exchanged."""
    sound, figures = _none_better(
        asked, {"images whose channels are reversed": lambda x: x.flip(1)}, "that on RGB"
    )
    return Finding(
        code="channel-order",
        sound=sound,
        figures=figures,
        advice="images come as RGB: reverse the channels inside the net that wants BGR",
    )


def _none_better(asked: Query, changes: Mapping[str, Change], than: str) -> tuple[bool, str]:
    """Whether all changes leave the net no better, and by how much each does."""
    compared = {name: _compared(asked, change) for name, change in changes.items()}
    figures = "; ".join(f"accuracy on {k} less {than}: {v}" for k, v in compared.items())
    return not any(_better(paired, asked) for paired in compared.values()), figures


def _right(asked: Query, count: int) -> tuple[Tensor, Tensor]:
    """(count,) bool, and the labels."""
    y = asked.some(count)[2]
    parts = range(-(-count // FIRST))
    return torch.cat([asked.part(at).argmax(1) for at in parts])[:count] == y, y


def _compared(asked: Query, change: Change) -> Paired:
    """What the net gets right on changed images, against what on these."""
    _, x, y = asked.some(asked.many)
    n = both = gained = lost = 0
    for at, (images, labels) in enumerate(zip(x.split(FIRST), y.split(FIRST), strict=True)):
        here = asked.part(at).argmax(1) == labels
        there = answers(asked.net, change(images)).argmax(1) == labels
        n, both = n + len(labels), both + int((here & there).sum())
        gained, lost = gained + int((there & ~here).sum()), lost + int((here & ~there).sum())
        if (gained - lost) + HOPE * sqrt(gained + lost + 1) < BETTER * n:
            break
    return Paired(n=n, both=both, gained=gained, lost=lost)


def _better(paired: Paired, asked: Query) -> bool:
    """The changed images are told apart, and more of them than of the images as they are."""
    told = Rate(paired.both + paired.gained, paired.n).interval[0] > 1 / asked.classes
    return told and paired.gain > BETTER and paired.p_value < LEVEL
