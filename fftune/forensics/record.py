"""Record of an inspection: its settings, and what it found of a set."""

from dataclasses import dataclass

from fftune.config import ThreatModel
from fftune.config.validation import require
from fftune.forensics.detector import Auc
from fftune.forensics.friends import Kind
from fftune.forensics.share import FALSE_ALARMS, SETS
from fftune.risk import Rate
from fftune.verdict import Outcome

FITTED: tuple[Kind, ...] = ("strong", "early", "limited")
"""Friends that the detector is fitted to; the adaptive one knows the result."""
FAR_FEWER = 0.9
"""Share of right answers, of those on clean images, below which a set is of another kind."""
FEWEST = 10
"""Mistakes in each part of the clean images, below which there is too little to touch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectConfig:
    """Settings of an inspection."""

    threat: ThreatModel
    """Ball of the friends that are looked for."""
    friends: int = 100
    """Mistakes that each of our own friends touches for a part."""
    sets: int = SETS
    """Resampled clean sets of each kind."""
    matters: float = 0.05
    """Smallest share of touched images, of the whole set, that a sound set must not have: "nothing
    found" is said only where friends of this share would have been found with power 0.8."""
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        require("friends", self.friends >= FEWEST, f">= {FEWEST}", self.friends)
        require("sets", self.sets >= 39, ">= 39, of which 5 % are at least one", self.sets)
        require("matters", 0 < self.matters <= 1, "a share in (0, 1]", self.matters)
        require("threads", self.threads >= 1, ">= 1", self.threads)


@dataclass(frozen=True, slots=True, kw_only=True)
class FriendSeen:
    """Separation of one of our own friends from clean images."""

    kind: Kind
    success: Rate
    """Mistakes that it conceals as 8-bit files inside the ball."""
    auc: Auc
    smallest: int | None
    """Touched images, in a set of the size at hand, that are found with power 0.8; None: not even
    where it has touched all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanSeen:
    """One kind of clean sets: what was found of the set against it, and its false alarms."""

    kind: str
    p: float
    """Share of such clean sets that look as touched as the set at hand."""
    alarms: Rate
    """Sets of images that neither fitted nor calibrated anything, and were called touched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """Result of an inspection."""

    examples: int
    right: int
    """Images of the set that the net gets right: no other can be a friend's success."""
    clean_right: tuple[int, int, int]
    """The same of the three parts of the clean images."""
    dropped: int
    """Clean images that are in the set, too, and were left out."""
    unusual: Rate
    """Right images of the set that score above 99 % of the clean ones of the fit."""
    unusual_clean: Rate
    """The same of clean images that were not fitted to."""
    share: float
    low: float
    high: float
    """Share of touched images of the whole set with its 95 % interval, if friends are like ours."""
    p: float
    """Largest p of all kinds of clean sets."""
    clean: tuple[CleanSeen, ...]
    left_out: tuple[str, ...]
    """Kinds of clean sets that the net gets far fewer right of, so that this is none of them."""
    clean_accuracy: float
    """Share of right answers on clean images."""
    friends: tuple[FriendSeen, ...]
    matters: float

    @property
    def smallest(self) -> int | None:
        """Touched images that are found with power 0.8, whichever of the fitted friends it was."""
        return _worst([one.smallest for one in self.friends if one.kind in FITTED])

    @property
    def smallest_evading(self) -> int | None:
        """The same of a friend who knows the detector."""
        return _worst([one.smallest for one in self.friends if one.kind not in FITTED])

    @property
    def is_another_kind(self) -> bool:
        """Far fewer right answers than on clean images, where a friend would have made more."""
        return self.right < FAR_FEWER * self.clean_accuracy * self.examples

    @property
    def outcome(self) -> Outcome:
        """`fail`: touched. `pass`: nothing found, where a share that matters would have been."""
        if self.p <= FALSE_ALARMS:
            return "inconclusive" if self.is_another_kind else "fail"
        least = self.smallest
        seen = least is not None and least <= self.matters * self.examples
        return "pass" if seen else "inconclusive"


def _worst(numbers: list[int | None]) -> int | None:
    """The largest of some numbers; None where one of them is."""
    known = [one for one in numbers if one is not None]
    return max(known) if known and len(known) == len(numbers) else None
