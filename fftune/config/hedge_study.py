"""Settings of a hedge study: which Hedge Defense, for one trained model."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import ClassVar

from fftune.config.defense import HedgeTrial, radius_of
from fftune.config.search_space import Dimension, Settings, with_settings
from fftune.config.serialization import SINCE
from fftune.config.study import StoppingConfig, Study, combinations
from fftune.config.validation import require, require_words

PAPER_STEPS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowcaseConfig:
    """Numbers of examples by which the effect of one hedge on single images is shown."""

    analysed: int = 64
    """Examples of each kind, corrected and broken, whose slopes and similarities are computed."""
    pictures: int = 4
    """Examples of each kind that are shown as pictures."""
    attacked_twice: int = 128
    """Examples whose predictions are attacked once more after a first attack."""
    grid: int = 21
    """Grid points of a loss surface along either axis, >= 2."""

    def __post_init__(self) -> None:
        require_words(self)
        for name in ("analysed", "pictures", "attacked_twice"):
            require(name, getattr(self, name) >= 1, ">= 1", getattr(self, name))
        require("grid", self.grid >= 2, ">= 2", self.grid)


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeSweep(Study):
    """Radius, steps and step size of a hedge against natural, adversarial, hypocritical risk."""

    kind: ClassVar[str] = "hedge"
    risks: ClassVar[tuple[str, ...]] = (
        "natural_risk",
        "adversarial_risk_all",
        "hypocritical_risk",
    )
    shows: ClassVar[tuple[str, ...]] = ("showcase",)

    base: HedgeTrial = field(default_factory=HedgeTrial)
    """One trial: the hedge, its net, and the attackers."""
    trials: int = 16
    """Number of trials, >= 1. `grid` tries all of its own."""
    showcase: ShowcaseConfig = field(default_factory=ShowcaseConfig, metadata={SINCE: 3})
    """Single images in the report, of the hedge that is chosen; no trial depends on it."""

    def __post_init__(self) -> None:
        Study.__post_init__(self)  # slots leave no super()

    @property
    def method(self) -> str:
        """Name of what the front is a front of: hedges of one model."""
        return "hedge"

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """Fields that are searched: `space`; or radius, steps up to the paper's, and step size."""
        eps = radius_of(self.base.norm, self.base.attack.threat)
        most = min(2 * eps, 1.0) if self.base.norm == "linf" else 2 * eps
        return self.space or (
            Dimension(path="eps_d", low=0.0, high=most),
            Dimension(path="steps", low=0, high=PAPER_STEPS),
            Dimension(path="step_size", low=eps / 16, high=eps, scale="log"),
        )

    @property
    def training_seeds(self) -> range:
        """Seed of each trial's noise: `base.seed` alone."""
        return range(self.base.seed, self.base.seed + 1)

    @property
    def early_stopping(self) -> StoppingConfig:
        """Rule by which trials are stopped early: never, as a hedge has no epochs."""
        return StoppingConfig()

    @property
    def known(self) -> tuple[Settings, ...]:
        """Settings tried first: no defense, random noise of `radius_of`, and the paper's hedge."""
        eps = radius_of(self.base.norm, self.base.attack.threat)
        pairs = ((0.0, 0), (eps, 0), (eps, PAPER_STEPS))
        each = [{"eps_d": eps_d, "steps": k, "step_size": eps / 2} for eps_d, k in pairs]
        return () if self.space else tuple(each)

    @property
    def grid(self) -> tuple[Settings, ...]:
        """Settings that `grid` tries: every combination of choices."""
        return combinations(self.dimensions)

    def effect(self, settings: Settings) -> Hashable:
        """Canonical form of settings: attack and defense; hedges without a radius are equal."""
        changed = with_settings(self.base, settings)
        return changed.attack, changed.hedge
