"""What is done to an input before a net predicts it."""

import math
from dataclasses import dataclass, field, fields, replace
from typing import Literal

from fftune.config.attack import UNSAID, AttackConfig, ThreatModel, default_eps, is_unsaid
from fftune.config.data import DataSpec
from fftune.config.literals import Defense, Device, Norm, Start
from fftune.config.model import ModelSpec
from fftune.config.validation import require


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeConfig:
    """One search for a safer point of a ball (Wu et al. 2021, alg. 1; constants of sec. 4.1).

    Without steps it is their uniform random perturbation; without a radius too, no defence.
    """

    norm: Norm = "linf"
    eps_d: float = UNSAID
    """The default is the norm's own; see `default_eps`."""
    steps: int = 20
    """K."""
    step_size: float | None = None
    """None stands for eps_d / 2."""
    classes: Literal["all", "one"] = "all"
    """Whose loss a step climbs: that of all classes, or of one drawn for each example and step
    (alg. 4)."""
    clamp: bool = True
    """Keeps pixels in [0, 1], which the paper does not print."""
    start: Start = "uniform"
    loss: Literal["ce", "linear"] = "ce"
    """`linear` is the score of section 5."""

    def __post_init__(self) -> None:
        if is_unsaid(self.eps_d):
            object.__setattr__(self, "eps_d", default_eps(self.norm))
        _check(self.eps_d, self.steps, self.step_size)
        if self.norm == "linf":
            require("eps_d", self.eps_d <= 1, "<= 1 for linf, as pixels lie in [0, 1]", self.eps_d)

    @property
    def threat(self) -> ThreatModel:
        """The defender's ball."""
        return ThreatModel(norm=self.norm, eps=self.eps_d, clamp=self.clamp)

    @property
    def step_length(self) -> float:
        """`step_size`, or eps_d / 2."""
        return self.eps_d / 2 if self.step_size is None else self.step_size


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeTrial(HedgeConfig):
    """A hedge, tried on a net and on images that were attacked without knowing of it."""

    net: ModelSpec = field(default_factory=lambda: ModelSpec(factory=""))
    data: DataSpec = field(default_factory=lambda: DataSpec(name="cifar10", validation_size=0))
    attack: AttackConfig = field(default_factory=AttackConfig)
    """For both goals on the bare net; `cw` climbs the margin, the others the cross-entropy. No
    step size stands for eps / 2, as in Wu et al. 2021; see `crafting`."""
    examples: int | None = 512
    """Of the test split, evenly spread over its ids, and as many of validation; where the data
    have no validation split, these are parted in two halves. None is all."""
    aware: int = 64
    """So many of the test examples are also attacked through the hedge (Wu et al. 2021, alg. 6),
    as the other figures flatter a defence."""
    block_size: int = 256
    """The unit of work, as of a battery."""
    seed: int = 0
    """Of the defender's noise, and on a branch of their own of the attackers'."""
    threads: int = 1
    device: Device = "auto"

    def __post_init__(self) -> None:
        HedgeConfig.__post_init__(self)  # slots leave no super()
        few = self.examples is None or self.examples >= 2
        require("examples", few, ">= 2", self.examples)
        require("aware", self.aware >= 1, ">= 1", self.aware)
        require("block_size", self.block_size >= 1, ">= 1", self.block_size)
        require("seed", self.seed >= 0, ">= 0", self.seed)
        require("threads", self.threads >= 1, ">= 1", self.threads)
        search = self.attack.search
        require("attack.search", search in PLAIN, f"one of {', '.join(PLAIN)}", search)

    @property
    def hedge(self) -> HedgeConfig:
        """The defence alone. What cannot matter is left out, so that equal ones are equal."""
        one = HedgeConfig(**{f.name: getattr(self, f.name) for f in fields(HedgeConfig)})
        if not self.eps_d:
            return replace(one, steps=0, step_size=None)
        return one if self.steps else replace(one, step_size=None)

    @property
    def crafting(self) -> AttackConfig:
        """`attack` with its step size written out."""
        half = self.attack.threat.eps / 2
        size = self.attack.step_size
        return replace(self.attack, step_size=half if size is None else size)

    @property
    def workers(self) -> int:
        """A trial is one process."""
        return 1


PLAIN = ("fgsm", "pgd", "cw", "apgd")
"""Searches that keep their last or best iterate: what Wu et al. 2021 plot hedges against."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DefenseConfig:
    """Defences that a battery's examples are scored under, beside none at all."""

    names: tuple[Defense, ...] = ()
    """`none` adds nothing, as the bare net is always shown."""
    norm: Norm | None = None
    """None stands for the attackers'."""
    eps_d: float | None = None
    """None stands for the attackers' radius, as in Wu et al. 2021; for a norm that is not
    theirs, for its own."""
    steps: int = 20
    """K of the hedges."""
    step_size: float | None = None
    """None stands for eps_d / 2."""
    clamp: bool = True
    repeats: int = 3
    """Draws of each defence; all attacks on an example meet the same ones."""
    seed: int = 0
    """The defender's; its noise shares no key with the attackers', whatever their seed."""
    draws: int = 4
    """Draws that an attacker averages over at each step (EOT); five times as many where the
    defence takes no steps, as they cost so little."""

    def __post_init__(self) -> None:
        require("names", len(set(self.names)) == len(self.names), "each named once", self.names)
        _check(0 if self.eps_d is None else self.eps_d, self.steps, self.step_size)
        require("repeats", self.repeats >= 1, ">= 1", self.repeats)
        require("draws", self.draws >= 1, ">= 1", self.draws)

    def hedges(self, threat: ThreatModel) -> dict[Defense, HedgeConfig]:
        """Each named defence but `none`; what is not set follows the attackers' threat."""
        norm = self.norm or threat.norm
        full = HedgeConfig(
            norm=norm,
            eps_d=radius_of(norm, threat) if self.eps_d is None else self.eps_d,
            steps=self.steps,
            step_size=self.step_size,
            clamp=self.clamp,
        )
        return {name: named(name, full) for name in self.names if name != "none"}


def radius_of(norm: Norm, threat: ThreatModel) -> float:
    """A defender's radius where none is said: the attackers', if theirs is the same norm."""
    return threat.eps if norm == threat.norm else default_eps(norm)


def named(name: Defense, full: HedgeConfig) -> HedgeConfig:
    """What `full` is under a name: with fewer steps, or a class at a time."""
    match name:
        case "hedge":
            return full
        case "hedge_one_class":
            return replace(full, classes="one")
        case "random":
            return replace(full, steps=0)
        case "none":
            return replace(full, steps=0, eps_d=0)


def _check(eps_d: float, steps: int, step_size: float | None) -> None:
    require("eps_d", 0 <= eps_d < math.inf, "finite and >= 0", eps_d)
    require("steps", steps >= 0, ">= 0", steps)
    require("step_size", step_size is None or step_size >= 0, ">= 0", step_size)
