"""Words on what the name of a data set stands for: files, what was left out, and what is taken."""

import logging
from functools import cache

from fftune.config import DataSpec, Split
from fftune.data.official_split import OfficialSplit

log = logging.getLogger(__name__)
MISSING = "that were published are missing"
"""Words on a part of a known set."""


def told(part: OfficialSplit, spec: DataSpec, split: Split, count: int, official: int) -> str:
    """One line on the images of a split; empty if they come from no files.

    Args:
        part: the official part that they are in.
        count: number of images of the split.
        official: published number of images of the part; 0: it is not known.
    """
    if not part.origin:
        return ""
    words = [f"{part.origin}: {len(part):,} images of {len(part.source.classes):,} classes"]
    if len(part) < official:
        words.append(f"{official - len(part):,} of the {official:,} {MISSING}")
    if part.name == "whole" and split == "test" and count == len(part):
        words.append("no official parts, so all of them are the test split")
    elif count != len(part):
        words.append(f"{count:,} of them are the {split} split")
    if size := spec.image_size:
        before = f"the shorter side made {round(size * 8 / 7)} and " if spec.image_resize else ""
        words.append(f"{before}the central {size} x {size} pixels taken")
    return f"{spec.name} is {'; '.join(words)}"


@cache
def tell(line: str) -> None:
    """Log a line of `told`, once, however often a set is opened; missing images as a warning."""
    if line:
        log.log(logging.WARNING if MISSING in line else logging.INFO, "data: %s", line)
