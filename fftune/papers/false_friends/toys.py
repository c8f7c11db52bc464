"""The two examples of Tao et al. 2022, appendix E, in closed form: classifiers and their risks.

Their risks are known exactly, so that whatever estimates risks can be tried on them.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import acos, nan, pi, sqrt

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fftune.attacks import pgd
from fftune.config import AttackConfig, Goal, ThreatModel
from fftune.keyed_noise import Noise
from fftune.risk import RiskCounts

RADIUS, CENTRE, REACH = 0.4, 0.5, 0.1
"""Radius and centre of the circle in [0, 1]^2, and eps of either attack (E.2)."""
DISC = pi * RADIUS**2
"""Share of positive points: the circle lies inside the square."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactRisks:
    """Risks of a classifier, under the names that `RiskCounts` gives to estimates of them."""

    natural_risk: Fraction
    hypocritical_risk_all: Fraction
    adversarial_risk_all: Fraction
    hypocritical_risk: Fraction
    adversarial_risk: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class StepExample:
    """Example E.1: x uniform on [0, 1], and intervals in which y = +1 is sure or has 1/4.

    Intervals are eps wide, the doubtful ones first, and eps is the radius of either attack.
    """

    eps: Fraction = Fraction(1, 10)

    def positive(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Probability eta(x) of y = +1: 1/4 on [2k eps, (2k+1) eps), else 1."""
        doubtful = np.floor(x / float(self.eps)) % 2 == 0
        return np.where(doubtful, 0.25, 1.0)

    @property
    def doubtful(self) -> Fraction:
        """Share of x with eta = 1/4: one half where 1 / (2 eps) is whole."""
        pairs, rest = divmod(Fraction(1), 2 * self.eps)
        return pairs * self.eps + min(rest, self.eps)

    def bayes(self) -> ExactRisks:
        """Risks of sign(2 eta - 1), which is wrong where a doubtful x has y = +1.

        Every x has the other interval within eps, so that either attack always succeeds; unless
        eps >= 1, where there is one interval and the classifier is constant.
        """
        natural = self.doubtful / 4
        if self.eps >= 1:
            return _constant(natural)
        sure = Fraction(1)
        return ExactRisks(
            natural_risk=natural,
            hypocritical_risk_all=sure,
            adversarial_risk_all=sure,
            hypocritical_risk=sure,
            adversarial_risk=sure,
        )

    def all_one(self) -> ExactRisks:
        """Risks of the classifier that always says +1: no attack changes anything."""
        return _constant(self.doubtful * Fraction(3, 4))


def _constant(natural: Fraction) -> ExactRisks:
    return ExactRisks(
        natural_risk=natural,
        hypocritical_risk_all=1 - natural,
        adversarial_risk_all=natural,
        hypocritical_risk=Fraction(0),
        adversarial_risk=Fraction(0),
    )


@dataclass(frozen=True, slots=True)
class CircleExample:
    """Example E.2: x uniform on [0, 1]^2, positive inside a circle; f(x) = sign(x_2 - b).

    Attacks reach REACH in l2. A point nearer to the line than that crosses it along x_2 inside the
    square, if 0 < b < 1: whether x' may leave the square decides nothing. At b = 0 and b = 1 the
    risks are those of the limit, as they are for x' that may leave it.
    """

    b: float

    @property
    def precision(self) -> float:
        """Share of positives among predicted ones; nan at b = 1."""
        return _above(self.b) / (1 - self.b) if self.b < 1 else nan

    @property
    def recall(self) -> float:
        """Share of the positives that are predicted."""
        return _above(self.b) / DISC

    @property
    def natural_risk(self) -> float:
        """R_nat on D."""
        return self._outside(self.b, 1) + _between(0, self.b)

    @property
    def adversarial_risk(self) -> float:
        """R_adv on D+: share of right points within reach of the line."""
        low, high = self._strip
        lost = _between(self.b, high) + self._outside(low, self.b)
        return lost / (1 - self.natural_risk)

    @property
    def hypocritical_risk(self) -> float:
        """R_hyp on D-: share of wrong points within reach of the line."""
        low, high = self._strip
        concealed = self._outside(self.b, high) + _between(low, self.b)
        return concealed / self.natural_risk

    @property
    def _strip(self) -> tuple[float, float]:
        return max(0.0, self.b - REACH), min(1.0, self.b + REACH)

    @staticmethod
    def _outside(low: float, high: float) -> float:
        return high - low - _between(low, high)


def _above(at: float) -> float:
    """Area of the circle's part above x_2 = `at`: a sector less a triangle."""
    height = min(max(at - CENTRE, -RADIUS), RADIUS)
    return RADIUS**2 * acos(height / RADIUS) - height * sqrt(RADIUS**2 - height**2)


def _between(low: float, high: float) -> float:
    return _above(low) - _above(high)


def best_precision() -> float:
    """The threshold of the highest precision, by bisection of its derivative.

    There (1 - b) times the chord's length equals the area above it. Lower thresholds down to the
    circle's lowest point trade recall for precision; higher ones lose both.
    """
    low, high = CENTRE - RADIUS, CENTRE
    for _ in range(60):
        b = (low + high) / 2
        chord = 2 * sqrt(RADIUS**2 - (b - CENTRE) ** 2)
        low, high = (b, high) if _above(b) > (1 - b) * chord else (low, b)
    return low


class HalfPlane(nn.Module):
    """Logits (b - x_2, x_2 - b) of (B, 1, 1, 2) pixels (x_1, x_2): f of E.2 as a net."""

    def __init__(self, b: float) -> None:
        super().__init__()
        self.b = b

    def forward(self, pixels: Tensor) -> Tensor:
        score = pixels.flatten(1)[:, 1] - self.b
        return torch.stack([-score, score], 1)


def circle_points(side: int) -> tuple[Tensor, Tensor]:
    """(N, 1, 1, 2) float64 pixels and (N,) int64 classes, 1 for +1: midpoints of side^2 cells."""
    at = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    x = torch.cartesian_prod(at, at)
    y = ((x - CENTRE).norm(dim=1) < RADIUS).long()
    return x.view(-1, 1, 1, 2), y


def attacked(b: float, side: int) -> RiskCounts:
    """Counts of PGD with 20 steps of eps / 4 on the grid of E.2, for both goals."""
    net, (x, y) = HalfPlane(b), circle_points(side)
    config = AttackConfig(threat=ThreatModel(norm="l2", eps=REACH))

    def right(pixels: Tensor) -> Tensor:
        logits: Tensor = net(pixels)
        return logits.argmax(1) == y

    def right_after(goal: Goal) -> Tensor:
        noise, ids = Noise(0), torch.arange(len(x))
        x_pert = pgd(net, x, y, config=config, goal=goal, loss="ce", noise=noise, ids=ids)
        return right(x_pert)

    clean, adv, hyp = right(x), right_after("adversarial"), right_after("hypocritical")
    return RiskCounts(
        total=len(x),
        wrong=int((~clean).sum()),
        fooled=int((clean & ~adv).sum()),
        concealed=int((~clean & hyp).sum()),
        adv_corrected=int((~clean & adv).sum()),
        hyp_broken=int((clean & ~hyp).sum()),
    )
