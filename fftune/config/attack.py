"""What a perturbation may be, and how it is searched."""

import math
from dataclasses import dataclass, field

from fftune.config.literals import Norm, Protocol, Search, Start
from fftune.config.validation import require

PIXEL = 255
"""Steps of an 8-bit pixel in [0, 1]."""


class _Unsaid(float):
    """A radius that nobody has said: its norm's own."""


UNSAID: float = _Unsaid("nan")


def is_unsaid(radius: float) -> bool:
    """Whether a field was left to its norm."""
    return isinstance(radius, _Unsaid)


def default_eps(norm: Norm) -> float:
    """The radius that both papers give a norm: 8/255 for linf, .5 for l2 (Tao et al. 2022, 5.1)."""
    return 8 / PIXEL if norm == "linf" else 0.5


def told_radius(eps: float) -> str:
    """A radius as it is printed: 0.0313725 (8/255) where it is whole pixels, else 0.5."""
    pixels = round(eps * PIXEL)
    whole = abs(eps - pixels / PIXEL) <= 1e-9 and eps != round(eps)
    return f"{eps:.6g} ({pixels}/{PIXEL})" if whole else f"{eps:.6g}"


UNCLAMPED = ("fgsm", "pgd", "cw", "pgd_hedged")
"""Searches that can go without the walls of [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreatModel:
    """Every x' in [0, 1] with ||x' - x||_norm <= eps, pixels scaled to [0, 1]."""

    norm: Norm = "linf"
    eps: float = UNSAID
    """The default is the norm's own; see `default_eps`."""
    clamp: bool = True
    """Off lets x' leave [0, 1], as Hedge Defense is printed (Wu et al. 2021, alg. 1); only `pgd`
    and its cases can."""

    def __post_init__(self) -> None:
        if is_unsaid(self.eps):
            object.__setattr__(self, "eps", default_eps(self.norm))
        require("eps", 0 <= self.eps < math.inf, "finite and >= 0", self.eps)
        if self.norm == "linf":
            require("eps", self.eps <= 1, "<= 1 for linf, as pixels lie in [0, 1]", self.eps)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackConfig:
    """One search for a point of a ball: how it starts, how far and how often it steps."""

    threat: ThreatModel = field(default_factory=ThreatModel)
    search: Search = "pgd"
    steps: int = 20
    """Iterations; for `square` and `rays`, queries an example."""
    step_size: float | None = None
    """Length of a step of `pgd` and `cw`; none stands for eps / 4 (Tao et al. 2022, A.2).
    The other searches choose theirs."""
    start: Start = "uniform"
    """`uniform` in the ball; `gaussian` with deviation .01, as the authors' code has it for
    THRM and TRADES; `narrow` with .001, as the code of TRADES itself has it; `sphere`, for l2,
    uniform on the ball's surface, as the former has it for PGD-AT; `none` at x itself. For `pgd`,
    `cw` and `apgd`."""
    restarts: int = 1
    """Tried one after another, until one succeeds."""
    targets: int = 0
    """For "adversarial" `apgd` and `fab`: how many of the likeliest other classes are aimed at,
    one after another; at most classes - 1. 0 aims at none in particular. For `deepfool`: how
    many boundaries are looked at; 0 is all."""
    protocol: Protocol = "fixed"
    """`fixed` takes every step; `strong` stops an example at its first success, which may be x
    itself, and else keeps its best iterate."""

    def __post_init__(self) -> None:
        require("steps", self.steps >= 0, ">= 0", self.steps)
        require("step_size", self.step_length >= 0, ">= 0", self.step_size)
        require("restarts", self.restarts >= 1, ">= 1", self.restarts)
        require("targets", self.targets >= 0, ">= 0", self.targets)
        may = self.threat.clamp or self.search in UNCLAMPED
        require("clamp", may, f"on for search {self.search!r}", self.threat.clamp)
        round_ball = self.start != "sphere" or self.threat.norm == "l2"
        require("start", round_ball, "another than 'sphere' for linf", self.start)

    @property
    def step_length(self) -> float:
        """`step_size`, or eps / 4."""
        return self.threat.eps / 4 if self.step_size is None else self.step_size
