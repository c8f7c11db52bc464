"""Shares of a card: how many trials its memory holds, and more for a trial that ran out of it."""

import json
import logging
from dataclasses import dataclass
from math import floor

from fftune.storage import write_text
from fftune.sweeping.study_dir import StudyDir

log = logging.getLogger(__name__)

USABLE = 0.9
"""Share of a card's memory that is given away; the rest is for what a probe has not met."""
FILE = "card_share.json"
GIB = 2**30


class MoreOfCardError(Exception):
    """Trial that ran out of memory with its share of a card, and is to run with a larger one."""

    def __init__(self, gpus: float) -> None:
        super().__init__(f"{gpus:g} of a card are needed")
        self.gpus = gpus


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """Memory of one trial's process, and of the card that it was measured on, in bytes."""

    need: int
    card: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CardShare:
    """GPUs of one trial that were chosen, and the reason in words."""

    gpus: float
    reason: str

    def keep(self, study: StudyDir) -> None:
        """Log the choice, and record it in the study's folder."""
        log.info("%s", self.reason)
        record = {"gpus": self.gpus, "reason": self.reason}
        write_text(study.path / FILE, json.dumps(record) + "\n")


def share_of(use: MemoryUse, *, places: int) -> CardShare:
    """Choose the share of a card that one trial gets.

    Args:
        places: trials for which the card's node has CPUs, >= 1.
    """
    held = floor(USABLE * use.card / use.need) if use.need else places
    count = max(1, min(held, places))
    each = f"{use.need / GIB:.1f} of {use.card / GIB:.0f} GiB each ({use.name})"
    limit = f"; its node has CPUs for {places}" if places < held else ""
    if count == 1:
        return CardShare(gpus=1.0, reason=f"a trial has a card for itself: {each}{limit}")
    # Rounded down, as Ray counts in units of 0.0001.
    share = floor(1e4 / count) / 1e4
    return CardShare(gpus=share, reason=f"{count} trials share a card: {each}{limit}")


def larger(gpus: float) -> float | None:
    """Double the share of a card; None where it is the whole card, or there is none."""
    return min(1.0, 2 * gpus) if 0 < gpus < 1 else None
