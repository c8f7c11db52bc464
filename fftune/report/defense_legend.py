"""Words of the tables of defenses explained: a line each, of those that a table has."""

from collections.abc import Iterable

ATTACKERS = {
    "adaptive": "several Auto-PGDs through the defense and on the bare net; of their points, the "
    "one that wins most draws of its own",
    "aware": "PGD through the defense",
    "eot": "PGD through the defense, each gradient a mean over draws; `aware` where it has none",
    "known": "PGD through the draw that the defender is going to make, the first",
    "pgd-hedged": "PGD on the bare net with a step of hedging inside each of its own",
    "label-free": "PGD away from what the bare net says of the clean image, not knowing its label",
}
"""Doings of the attackers whose names begin so, the strongest first."""
MISTAKES = (
    "  none: looks right to the bare net; leaves: looks right behind the defense; unmasks: looks "
    "right to the bare net and wrong behind the defense; as itself: of what looks right to the "
    "bare net, that which the defense gives the bare net's clean class"
)
FLIPS = (
    "  FtoT, TtoF: answers that a defense turns from false to true and from true to false; FtoF: "
    "to another false one. Images, a mean over draws"
)
BEST = (
    "  best of all: an image is lost if any attack wins on it, those of the battery, which know no "
    "defense, and those that do, but for `known-...`. That is what to quote; what a defense is "
    "worth is the paired difference from the bare net's, below"
)


def attackers(names: Iterable[str]) -> list[str]:
    """Say what each kind of adaptive attacker among these names does."""
    named = list(names)
    kinds = [kind for kind in ATTACKERS if any(name.startswith(kind) for name in named)]
    width = max(map(len, kinds), default=0)
    return [f"  {kind:{width}}  {ATTACKERS[kind]}" for kind in kinds]
