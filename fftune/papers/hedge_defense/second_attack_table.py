"""Counts of Wu et al. 2021, appendix B.10, as shares, which samples of any size have."""

from collections.abc import Mapping

from fftune.papers.artifacts import Published, Row, Table
from fftune.papers.declarations import Setup
from fftune.papers.tables.measures import measure_of
from fftune.papers.tables.published import published
from fftune.papers.tables.verdicts import cell
from fftune.risk import Rate

ALL_IMAGES = 10_000
"""CIFAR-10's test images."""
SHARES = {
    ("first attack", "right before"): ("correct", ""),
    ("first attack", "flipped"): ("flipped", "correct"),
    ("second attack, on the flipped", "flipped again"): ("flipped_again", "flipped"),
    ("second attack, on the flipped", "back to the truth"): ("returned", "flipped"),
    ("second attack, on survivors", "flipped"): ("survivors_flipped", "survived"),
}
"""Columns, with the counts that each is a quotient of; an empty one is all images."""
PRINTED = {
    "correct": "nat correct",
    "flipped": "pgd flipped",
    "survived": "pgd survived",
    "flipped_again": "second attack flips of flipped",
    "returned": "back to true",
    "survivors_flipped": "second attack flips of survived",
}
"""Counts by their names in `published.json`."""


def second_attack_table(
    counts: Mapping[str, int], n: int, setup: Setup, *, comparable: str = ""
) -> Table:
    """Put the shares of a second attack at full length beside the published ones.

    Args:
        counts: as in `defenses.analysis.SecondAttack`.
        n: images, right and wrong.
        comparable: why they cannot be compared; empty: they can.
    """
    cells = tuple(
        cell(
            measure_of([Rate(counts[part], counts[whole] if whole else n)]),
            printed_share(part, whole),
            setup,
            comparable=comparable,
        )
        for part, whole in SHARES.values()
    )
    printed = ", ".join(f"{_printed(name):,.0f} {name.replace('_', ' ')}" for name in PRINTED)
    ours = ", ".join(f"{counts[name]:,} {name.replace('_', ' ')}" for name in PRINTED)
    return Table(
        name="P2.B10",
        title="Second attack on the predictions of adversarial examples",
        columns=tuple(SHARES),
        rows=(Row(label="TRADES", cells=cells),),
        corner="Net",
        notes=(
            f"Published counts, of {ALL_IMAGES:,} images: {printed}.",
            f"Ours, of {n:,}: {ours}.",
        ),
    )


def printed_share(part: str, whole: str) -> Published:
    """A published share in percent, with the tolerance of its count."""
    found = published("P2.B10", PRINTED[part])
    assert found is not None  # shipped with the package
    of = _printed(whole) if whole else ALL_IMAGES
    return Published(mean=100 * found.mean / of, tolerance=100 * found.tolerance / of)


def _printed(name: str) -> float:
    found = published("P2.B10", PRINTED[name])
    assert found is not None  # shipped with the package
    return found.mean
