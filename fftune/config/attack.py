"""Threat model, and settings of one attack."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fftune.config.literals import Norm, Protocol, Start
from fftune.config.validation import UNSAID, is_unsaid, require, require_words
from fftune.registry import ATTACKS, absolute, label, may_look

PIXEL = 255
"""Steps of an 8-bit pixel in [0, 1]."""


def default_eps(norm: Norm) -> float:
    """Radius that both papers use: 8/255 for linf, 0.5 for l2 (Tao et al. 2022, 5.1)."""
    return 8 / PIXEL if norm == "linf" else 0.5


def told_radius(eps: float) -> str:
    """Format a radius for output: 0.0313725 (8/255) where it is whole pixels, else 0.5."""
    pixels = round(eps * PIXEL)
    whole = abs(eps - pixels / PIXEL) <= 1e-9 and eps != round(eps)
    return f"{eps:.6g} ({pixels}/{PIXEL})" if whole else f"{eps:.6g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreatModel:
    """Ball of allowed inputs: x' in [0, 1] with ||x' - x||_norm <= eps, pixels scaled to [0, 1]."""

    norm: Norm = "linf"
    """Norm of the attackers' ball. With linf each pixel changes by at most eps, with l2 the
    Euclidean length of all changes is at most eps."""
    eps: float = UNSAID
    """Radius, in pixels of [0, 1]. Each norm has its own default: 8/255 for
    linf, 0.5 for l2."""
    clamp: bool = True
    """Keep x' in [0, 1]. Off as Hedge Defense is printed (Wu et al. 2021, alg. 1); only `pgd`
    and its special cases can go without."""

    def __post_init__(self) -> None:
        require_words(self)
        if is_unsaid(self.eps):
            object.__setattr__(self, "eps", default_eps(self.norm))
        require("eps", 0 <= self.eps < math.inf, "finite and >= 0", self.eps)
        if self.norm == "linf":
            require("eps", self.eps <= 1, "<= 1 for linf, as pixels lie in [0, 1]", self.eps)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackConfig:
    """Settings of one attack: where its search starts, how far and how often it steps."""

    threat: ThreatModel = field(default_factory=ThreatModel)
    search: str = "pgd"
    """The attack by its name."""
    steps: int = 20
    """Steps of the attack; for `square` and `rays`, queries for each example."""
    step_size: float | None = None
    """Length of a step of `pgd` and `cw`, in pixels of [0, 1]; default eps / 4 (Tao et al. 2022,
    A.2). The other attacks choose theirs."""
    start: Start = "uniform"
    """Starting point, for `pgd`, `cw` and `apgd`: `uniform` in the ball; `gaussian` with
    deviation 0.01, as the authors' code has it for THRM and TRADES; `narrow` with 0.001, as the
    code of TRADES itself has it; `sphere`, for l2, uniform on the ball's surface, as the authors'
    code has it for PGD-AT; `none` at x itself."""
    restarts: int = 1
    """Number of restarts, one after another, until one succeeds."""
    targets: int = 0
    """Number of the likeliest other classes that adversarial `apgd` and `fab` aim at in turn; 0:
    untargeted. For `deepfool`: number of boundaries that are looked at; 0: all."""
    protocol: Protocol | None = None
    """Point that is handed over; default `last_iterate` for `pgd` and its kin, `best_loss` for the
    others. `last_iterate`: where all steps end. `best_loss`: of all iterates the success of highest
    loss, or else the highest loss; for searches of a boundary, the nearest success.
    `first_success`: where a search first succeeds and ends, which may be x itself, or else the
    highest loss. `last_success`, as in AutoAttack's own code: x itself where it serves the goal and
    where nothing did, or else the last success of the first restart or target that has one."""

    def __post_init__(self) -> None:
        require_words(self)
        ATTACKS.check("search", self.search)
        object.__setattr__(self, "search", absolute(self.search))
        require("steps", self.steps >= 0, ">= 0", self.steps)
        require("step_size", self.step_length >= 0, ">= 0", self.step_size)
        require("restarts", self.restarts >= 1, ">= 1", self.restarts)
        require("targets", self.targets >= 0, ">= 0", self.targets)
        round_ball = self.start != "sphere" or self.threat.norm == "l2"
        require("start", round_ball, "another than 'sphere' for linf", self.start)
        if not self.threat.clamp and may_look(self.search):  # an import of torch
            may = getattr(ATTACKS[self.search], "may_unclamp", False)
            require("clamp", may, f"on for search {self.search!r}", self.threat.clamp)

    @staticmethod
    def upgraded(stored: Mapping[str, Any]) -> Mapping[str, Any]:
        """Stored settings of before schema version 4, which had two protocols, in today's words."""
        words = {"fixed": None, "strong": "first_success"}
        word = stored.get("protocol")
        return {**stored, "protocol": words.get(str(word), word)}

    def handing(self, protocol: Protocol) -> "AttackConfig":
        """The same settings, with this protocol where none is named."""
        return replace(self, protocol=self.protocol or protocol)

    @property
    def label(self) -> str:
        """Name of the attack in rows and tables, as in `pgd-20`."""
        return f"{label(self.search)}-{self.steps}"

    @property
    def step_length(self) -> float:
        """Length of a step: `step_size`, or eps / 4."""
        return self.threat.eps / 4 if self.step_size is None else self.step_size
