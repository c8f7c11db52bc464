"""A study of a defence: which hedge, for one net."""

import json
from collections.abc import Hashable
from dataclasses import dataclass, field

from fftune.config.defense import HedgeTrial, radius_of
from fftune.config.search_space import Dimension, Settings, with_settings
from fftune.config.serialization import from_json
from fftune.config.study import Study, SweepConfig

PAPER_STEPS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeSweep(Study):
    """Radius, steps and step size of a hedge against natural, adversarial, hypocritical risk."""

    base: HedgeTrial = field(default_factory=HedgeTrial)
    trials: int = 16

    def __post_init__(self) -> None:
        Study.__post_init__(self)  # slots leave no super()

    @property
    def method(self) -> str:
        """All its points are hedges of one net."""
        return "hedge"

    @property
    def risks(self) -> tuple[str, ...]:
        """Natural risk, and both that it is traded for."""
        return ("natural_risk", "adversarial_risk_all", "hypocritical_risk")

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """`space`; or from no defence to twice `radius_of`, and K up to the paper's."""
        eps = radius_of(self.base.norm, self.base.attack.threat)
        most = min(2 * eps, 1.0) if self.base.norm == "linf" else 2 * eps
        return self.space or (
            Dimension(path="eps_d", low=0.0, high=most),
            Dimension(path="steps", low=0, high=PAPER_STEPS),
            Dimension(path="step_size", low=eps / 16, high=eps, scale="log"),
        )

    @property
    def known(self) -> tuple[Settings, ...]:
        """No defence, random noise of `radius_of`, and the paper's hedge."""
        eps = radius_of(self.base.norm, self.base.attack.threat)
        pairs = ((0.0, 0), (eps, 0), (eps, PAPER_STEPS))
        each = [{"eps_d": eps_d, "steps": k, "step_size": eps / 2} for eps_d, k in pairs]
        return () if self.space else tuple(each)

    def effect(self, settings: Settings) -> Hashable:
        """The defence without what cannot matter: without a radius all are none."""
        changed = with_settings(self.base, settings)
        return changed.attack, changed.hedge

    @property
    def _bisectable(self) -> bool:
        return False  # three risks


def study_of(text: str) -> Study:
    """The study whose settings `to_json` wrote, of either kind.

    Raises:
        ConfigError: as `from_json` does.
    """
    try:
        hedged = "eps_d" in json.loads(text)["base"]
    except (ValueError, LookupError, TypeError):
        hedged = False  # what is wrong with it, `from_json` says
    return from_json(HedgeSweep if hedged else SweepConfig, text)
