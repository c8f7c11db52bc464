"""Settings of test-time defenses: perturbations of an input before a net predicts it."""

import math
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal

from fftune.config.attack import AttackConfig, ThreatModel, default_eps
from fftune.config.data import DataSpec
from fftune.config.literals import Device, Norm, Start
from fftune.config.model import ModelSpec
from fftune.config.serialization import SINCE
from fftune.config.validation import UNSAID, is_unsaid, require, require_words
from fftune.errors import ConfigError
from fftune.registry import ATTACKS, DEFENSES, absolute, is_of_file, label, may_look

SEARCH_STEPS, SEARCH_TARGETS, CHOICES = 50, 5, 5
"""Lengths by which Croce et al. 2022 broke Hedge Defense; see `DefenseConfig`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeConfig:
    """Settings of Hedge Defense (Wu et al. 2021, alg. 1; constants of sec. 4.1).

    With 0 steps it is their uniform random perturbation; with radius 0 too, no defense.
    """

    norm: Norm = "linf"
    """Norm of the ball in which the defender moves an image."""
    eps_d: float = UNSAID
    """Radius of that ball, in pixels of [0, 1]. Each norm has its own default: 8/255 for linf, 0.5
    for l2."""
    steps: int = 20
    """Steps of the defender, K in the paper."""
    step_size: float | None = None
    """Length of a step, in pixels of [0, 1]; default eps_d / 2."""
    classes: Literal["all", "one"] = "all"
    """Classes whose loss a step climbs: all, or one drawn for each example and step (alg. 4)."""
    clamp: bool = True
    """Keep pixels in [0, 1], which the paper does not print."""
    start: Start = "uniform"
    """Starting point of the defender; `none` is the image itself, and the others are those of
    attacks."""
    loss: Literal["ce", "linear"] = "ce"
    """Loss of each class: cross-entropy, or the score of section 5, `linear`."""

    def __post_init__(self) -> None:
        require_words(self)
        if is_unsaid(self.eps_d):
            object.__setattr__(self, "eps_d", default_eps(self.norm))
        _check(self.eps_d, self.steps, self.step_size)
        if self.norm == "linf":
            require("eps_d", self.eps_d <= 1, "<= 1 for linf, as pixels lie in [0, 1]", self.eps_d)

    @property
    def threat(self) -> ThreatModel:
        """Ball that the defender searches."""
        return ThreatModel(norm=self.norm, eps=self.eps_d, clamp=self.clamp)

    @property
    def step_length(self) -> float:
        """Length of a step: `step_size`, or eps_d / 2."""
        return self.eps_d / 2 if self.step_size is None else self.step_size


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeTrial(HedgeConfig):
    """Trial of a hedge on one net, against attackers who do not know of it."""

    net: ModelSpec = field(default_factory=lambda: ModelSpec(factory=""))
    data: DataSpec = field(default_factory=lambda: DataSpec(name="cifar10", validation_size=0))
    attack: AttackConfig = field(default_factory=AttackConfig)
    """Attack for both goals on the bare net, with the attack's own loss; here the default step size
    is eps / 2, as in Wu et al. 2021."""
    examples: int | None = 512
    """Test examples, evenly spread over their ids, and as many of validation; None: all. Where the
    data have no validation split, these are divided into two halves."""
    aware: int = 64
    """Test examples that are also attacked through the hedge. Without (Wu et al. 2021, alg. 6) the
    other figures flatter a defense."""
    block_size: int = 256
    """Unit of work: number of examples that are attacked together."""
    seed: int = 0
    """Seed of the defender's noise and, on another branch, of the attackers'."""
    threads: int = 1
    """CPU threads of torch; rows are equal to the bit only for equal threads."""
    device: Device = "auto"
    """Device: `auto` is CUDA where there is one."""

    def __post_init__(self) -> None:
        HedgeConfig.__post_init__(self)  # slots leave no super()
        few = self.examples is None or self.examples >= 2
        require("examples", few, ">= 2", self.examples)
        require("aware", self.aware >= 1, ">= 1", self.aware)
        require("block_size", self.block_size >= 1, ">= 1", self.block_size)
        require("seed", self.seed >= 0, ">= 0", self.seed)
        require("threads", self.threads >= 1, ">= 1", self.threads)
        search = self.attack.search
        if search != "pgd" and may_look(search):  # an import of torch, which few ask for
            rule = "an attack that keeps its last iterate, as pgd does"
            require("attack.search", _keeps_last(search), rule, search)

    @property
    def hedge(self) -> HedgeConfig:
        """The defense alone, in canonical form: settings without effect have their defaults."""
        one = HedgeConfig(**{f.name: getattr(self, f.name) for f in fields(HedgeConfig)})
        if not self.eps_d:
            return replace(one, steps=0, step_size=None)
        return one if self.steps else replace(one, step_size=None)

    @property
    def crafting(self) -> AttackConfig:
        """The attack with its step size resolved."""
        half = self.attack.threat.eps / 2
        size = self.attack.step_size
        return replace(self.attack, step_size=half if size is None else size)

    @property
    def workers(self) -> int:
        """Number of processes of a trial: 1."""
        return 1


def _keeps_last(search: str) -> bool:
    """Tell attacks that return their last or best iterate from searches for a boundary."""
    return bool(getattr(ATTACKS[search], "keeps_last", False))


@dataclass(frozen=True, slots=True, kw_only=True)
class JpegConfig:
    """Settings of JPEG compression (Dziugaite et al. 2016)."""

    quality: int = 75
    """Quality from 1 to 100, as libjpeg and Pillow count it."""

    def __post_init__(self) -> None:
        require_words(self)
        require("quality", 1 <= self.quality <= 100, "from 1 to 100", self.quality)


@dataclass(frozen=True, slots=True, kw_only=True)
class BitDepthConfig:
    """Settings of fewer bits for a pixel, a feature squeezer (Xu et al. 2018)."""

    bits: int = 4
    """Bits of each pixel and channel, which then has 2^bits values."""

    def __post_init__(self) -> None:
        require_words(self)
        require("bits", 1 <= self.bits <= 8, "from 1 to 8", self.bits)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmoothingConfig:
    """Settings of randomised smoothing (Cohen et al. 2019)."""

    sigma: float = 0.25
    """Standard deviation of the Gaussian noise, in pixels of [0, 1]."""
    votes: int = 100
    """Noisy copies of an image, each with one vote."""
    attacker_votes: int = 8
    """Copies whose probabilities an adaptive attacker averages in each draw, at most all."""

    def __post_init__(self) -> None:
        require_words(self)
        require("sigma", 0 < self.sigma < math.inf, "finite and > 0", self.sigma)
        require("votes", self.votes >= 1, ">= 1", self.votes)
        require("attacker_votes", self.attacker_votes >= 1, ">= 1", self.attacker_votes)


@dataclass(frozen=True, slots=True, kw_only=True)
class AntiAdversaryConfig:
    """Settings of the anti-adversary layer (Alfarra et al. 2022; constants of their code)."""

    steps: int = 2
    """Number of steps, K in the paper."""
    step_size: float = 0.15
    """Length of a step in every pixel of [0, 1], alpha in the paper."""
    clamp: bool = True
    """Keep pixels in [0, 1], which the authors' code does not."""

    def __post_init__(self) -> None:
        require_words(self)
        require("steps", self.steps >= 1, ">= 1", self.steps)
        good = 0 < self.step_size < math.inf
        require("step_size", good, "finite and > 0", self.step_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class DefenseConfig:
    """Test-time defenses that a battery's perturbed examples are scored under, beside none."""

    names: tuple[str, ...] = ()
    """Defenses that are attacked as well; default none. Rows are scored under each, also beside
    attackers that know it; `random` is noise, and `none` adds nothing to the bare net, which is
    always shown."""
    norm: Norm | None = None
    """Norm of the hedges' ball; default the attackers'."""
    eps_d: float | None = None
    """Radius of the hedges, in pixels of [0, 1]; default the attackers', as in Wu et al. 2021, or
    the norm's own where it is not theirs."""
    steps: int = 20
    """Number of steps of the hedges, K in the paper."""
    step_size: float | None = None
    """Length of a step of the hedges, in pixels of [0, 1]; default eps_d / 2."""
    clamp: bool = True
    """Keep hedged pixels in [0, 1]."""
    repeats: int = 3
    """Random draws of each defense; all attacks on an example meet the same ones."""
    seed: int = 0
    """Seed of the defender's noise, which shares no key with the attackers', whatever theirs."""
    draws: int = 4
    """Draws that an adaptive attacker averages over at each step (EOT); five times as many where
    the defense asks nothing of the net."""
    search_steps: int = field(default=SEARCH_STEPS, metadata={SINCE: 4})
    """Steps of each search of the strongest adaptive attack, `adaptive-...`."""
    search_targets: int = field(default=SEARCH_TARGETS, metadata={SINCE: 4})
    """Number of the likeliest other classes that it aims at."""
    choices: int = field(default=CHOICES, metadata={SINCE: 4})
    """Draws behind which it tries the points of its searches, to choose among them."""
    jpeg: JpegConfig = field(default_factory=JpegConfig, metadata={SINCE: 4})
    bit_depth: BitDepthConfig = field(default_factory=BitDepthConfig, metadata={SINCE: 4})
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig, metadata={SINCE: 4})
    anti_adversary: AntiAdversaryConfig = field(
        default_factory=AntiAdversaryConfig, metadata={SINCE: 4}
    )

    def __post_init__(self) -> None:
        require_words(self)
        for name in self.names:
            if name != "none":
                DEFENSES.check("names", name)
        object.__setattr__(self, "names", tuple(map(absolute, self.names)))
        once = len(set(map(label, self.names))) == len(self.names)
        require("names", once, "each named once", self.names)
        _check(0 if self.eps_d is None else self.eps_d, self.steps, self.step_size)
        require("repeats", self.repeats >= 1, ">= 1", self.repeats)
        for name in ("draws", "search_steps", "search_targets", "choices"):
            require(name, getattr(self, name) >= 1, ">= 1", getattr(self, name))

    @property
    def is_any(self) -> bool:
        """True where a defense is named."""
        return any(name != "none" for name in self.names)

    def refuse_idle(self) -> None:
        """Refuse settings that no named defense follows, as those of JPEG without `jpeg`.

        A defense of a file may follow any.

        Raises:
            ConfigError: one differs from its default, and would do nothing.
        """
        if any(map(is_of_file, self.names)):
            return
        for one in _differing(self, DefenseConfig(names=self.names)):
            own = is_dataclass(value := getattr(self, one))  # of the defense of that very name
            if one in self.names if own else self.is_any:
                continue
            path = ".".join([one, *(_differing(value, type(value)())[:1] if own else ())])
            lacks = f"has no {one}" if own else "has none"
            raise ConfigError(f"defense.{path} must be left out, as defense.names {lacks}")

    def hedge(self, threat: ThreatModel) -> HedgeConfig:
        """Hedge Defense with these settings; what is not given follows the attackers' threat."""
        norm = self.norm or threat.norm
        return HedgeConfig(
            norm=norm,
            eps_d=radius_of(norm, threat) if self.eps_d is None else self.eps_d,
            steps=self.steps,
            step_size=self.step_size,
            clamp=self.clamp,
        )


def _differing(one: Any, other: Any) -> list[str]:
    """Names of the fields in which two settings of one class differ."""
    return [f.name for f in fields(one) if getattr(one, f.name) != getattr(other, f.name)]


def radius_of(norm: Norm, threat: ThreatModel) -> float:
    """Default radius of a defender: the attackers', if theirs is the same norm."""
    return threat.eps if norm == threat.norm else default_eps(norm)


def _check(eps_d: float, steps: int, step_size: float | None) -> None:
    require("eps_d", 0 <= eps_d < math.inf, "finite and >= 0", eps_d)
    require("steps", steps >= 0, ">= 0", steps)
    require("step_size", step_size is None or step_size >= 0, ">= 0", step_size)
