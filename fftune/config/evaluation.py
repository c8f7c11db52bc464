"""Settings of an evaluation: which battery of attacks, and how it is run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fftune.config.literals import Device, Precision, Tier
from fftune.config.serialization import SINCE
from fftune.config.validation import require, require_words
from fftune.registry import BATTERIES, absolute, may_look

PNG_FORM, JPEG_FORM = "png", "jpeg"
"""Forms in which perturbed images are stored; of JPEG with its quality, as in `jpeg-75`."""
JPEG_QUALITY = 75
"""Quality of `jpeg` without a number, which is Pillow's own default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatteryConfig:
    """A named set of attacks, run on every example of a split, block by block."""

    name: str = "risks"
    """The attacks. `risks` is PGD for both goals, and `audit` adds an ensemble for each; `nine` is
    table 1 of Wu et al. 2021; `autoattack` has its four published attacks at published lengths,
    `ensemble` is our shorter one; `hypocritical` is of Tao et al. 2022, table 14, `targets` of fig.
    3; `fast_at`; `certified` adds upper bounds to `risks`; `second_opinion` is the attack CR: cheap
    and no replacement. Those of installed packages go by their names."""
    steps: int = 20
    """Steps of `risks`, `targets` and `certified`; others are as their sources have them."""
    tier: Tier | None = None
    """Length of `audit`, `ensemble` and `hypocritical`; default escalating. `screen` is a first
    look, `escalating` becomes `full` where that may find more; `full` is AutoAttack."""
    examples: int | None = None
    """Examples of the split, evenly spread; default all."""
    block_size: int | None = None
    """Unit of work: number of consecutive ids that are attacked together, wherever they run.
    Default what the device wants: 256 on a CPU, 1,000 on CUDA."""
    transfer: tuple[str, ...] = field(default=(), metadata={SINCE: 4})
    """Other nets whose points are tried, too, as `transfer-NAME`: folders of checkpoints, or
    FILE.py:FUNCTION, of the same images and classes; default none."""
    stored: tuple[str, ...] = field(default=(), metadata={SINCE: 6})
    """Files in which points are stored and scored again: `png` (8 bits in the ball), `jpeg-75`
    (any quality from 1 to 100); default none. The worst case is that of exact points."""
    certify_seconds: float = field(default=5.0, metadata={SINCE: 6})
    """Seconds that `certified` may take for an image, on average; the rest stays undecided."""
    certify_copies: int = field(default=1000, metadata={SINCE: 6})
    """Noisy copies of an image by which `certified` certifies a net behind `smoothing`, in l2."""
    seed: int = 0
    """Seed of the attackers' noise."""
    threads: int = 1
    """CPU threads of torch; rows are equal to the bit only for equal threads."""
    device: Device = "auto"
    """Device: `auto` is CUDA where there is one."""
    precision: Precision = "auto"
    """Precision of searches for a first success, which is confirmed in fp32 on the untouched net;
    `auto` is bf16 on a CPU that has it, fp32 on CUDA, where bf16 alone finds less: there
    what survives a search in bf16 is searched again in fp32."""

    def __post_init__(self) -> None:
        require_words(self)
        BATTERIES.check("name", self.name)
        object.__setattr__(self, "name", absolute(self.name))
        require("steps", self.steps >= 0, ">= 0", self.steps)
        object.__setattr__(self, "stored", tuple(map(_form, self.stored)))
        require("stored", len(set(self.stored)) == len(self.stored), "different", self.stored)
        few = self.examples is None or self.examples >= 1
        require("examples", few, ">= 1", self.examples)
        size = self.block_size is None or self.block_size >= 1
        require("block_size", size, ">= 1", self.block_size)
        require("threads", self.threads >= 1, ">= 1", self.threads)
        seconds, copies = self.certify_seconds, self.certify_copies
        require("certify_seconds", 0 <= seconds < math.inf, "finite and >= 0", seconds)
        require("certify_copies", copies >= 1, ">= 1", copies)
        if self.tier is not None and may_look(self.name):  # an import of torch, rarely
            tiers = getattr(BATTERIES[self.name], "tiers", ())
            rule = f"one of {', '.join(tiers)}" if tiers else "left out"
            require("tier", self.tier in tiers, f"{rule} for battery {self.name!r}", self.tier)

    @property
    def told_seed(self) -> str:
        """End of a net's name in progress, as in ", seed 3"; empty for the usual seed 0."""
        return f", seed {self.seed}" if self.seed else ""

    def under_seeds(self, count: int) -> tuple["BatteryConfig", ...]:
        """The battery under this many seeds of the attackers, from its own on.

        Raises:
            ConfigError: the number is none, or below 1.
        """
        require("seeds", isinstance(count, int) and count >= 1, "a whole number >= 1", count)
        return tuple(replace(self, seed=self.seed + more) for more in range(count))

    @staticmethod
    def upgraded(stored: Mapping[str, Any]) -> Mapping[str, Any]:
        """Settings that version 0.1.0 stored, in today's names.

        Tier "standard" is "escalating"; the shorter ensembles of battery "autoattack" are battery
        "ensemble"; batteries of fixed lengths had a tier that meant nothing.
        """
        name, tier = stored.get("name"), stored.get("tier")
        if name == "autoattack" and tier in ("standard", "screen"):
            name = "ensemble"
        fixed = name in ("risks", "nine", "autoattack", "targets", "fast_at")
        if fixed or tier == "standard":
            tier = None
        return (
            {**stored, "name": name, "tier": tier} if {"name", "tier"} <= stored.keys() else stored
        )


def _form(name: str) -> str:
    """A form of storage with its quality.

    Raises:
        ConfigError: there is no such form.
    """
    if name == PNG_FORM:
        return name
    kind, _, quality = name.partition("-")
    quality = quality if "-" in name else str(JPEG_QUALITY)
    known = kind == JPEG_FORM and quality.isdecimal() and 1 <= int(quality) <= 100
    require("stored", known, "'png' or 'jpeg-QUALITY' with a quality from 1 to 100", name)
    return f"{JPEG_FORM}-{int(quality)}"
