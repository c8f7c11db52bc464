"""Detector of touched images: one score of all traces, and how well it tells friends apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from fftune.forensics.traces import Traces
from fftune.risk import Z

RIDGE = 1e-3
"""Share of a trace's variance among clean images that is added to every variance."""


@dataclass(frozen=True, slots=True, eq=False)
class Normal:
    """Normal distribution of traces."""

    mean: Tensor
    """(F,)."""
    precision: Tensor
    """(F, F)."""
    offset: float
    """Log density at the mean."""

    @classmethod
    def of(cls, values: Tensor, ridge: Tensor) -> "Normal":
        """Fit to (N, F) traces, with a (F,) variance added."""
        mean, centred = values.mean(0), values - values.mean(0)
        covariance = centred.T @ centred / max(len(values) - 1, 1) + ridge.diag()
        precision = torch.linalg.inv(covariance)
        return cls(mean, precision, float(torch.linalg.slogdet(precision).logabsdet) / 2)

    def log_density(self, values: Tensor) -> Tensor:
        """(N,), up to a constant; differentiable."""
        centred = values - self.mean
        return self.offset - ((centred @ self.precision) * centred).sum(-1) / 2


@dataclass(frozen=True, slots=True, eq=False)
class Detector:
    """Quadratic discriminant: log likelihood ratio of a friend's traces to clean ones.

    Friends vary more than clean images, so that whatever is far from clean looks touched, on the
    other side too: a friend gains nothing by turning its trace round.
    """

    clean: Normal
    friends: Normal

    @classmethod
    def of(cls, clean: Tensor, friends: Sequence[Tensor]) -> "Detector":
        """Fit to (N, F) traces of clean images and of each kind of friend."""
        clean, touched = clean.double(), torch.cat([*friends]).double()
        ridge = RIDGE * clean.var(0) + 1e-12
        return cls(Normal.of(clean, ridge), Normal.of(touched, ridge))

    def __call__(self, values: Tensor) -> Tensor:
        """(N,) float64 scores of (N, F) traces; differentiable."""
        values = values.double()
        return self.friends.log_density(values) - self.clean.log_density(values)

    def scores(self, found: Traces) -> Tensor:
        """(M,) float64 scores of those M images that the net gets right: others are untouched."""
        return self(found.values[found.right])


@dataclass(frozen=True, slots=True, kw_only=True)
class Auc:
    """Area under the ROC: chance that a touched image scores above a clean one; ties count half."""

    value: float
    clean: int
    touched: int

    @classmethod
    def of(cls, clean: Tensor, touched: Tensor) -> "Auc":
        """Count over all pairs of scores; nan without any."""
        n, m = len(clean), len(touched)
        if not n or not m:
            return cls(value=float("nan"), clean=n, touched=m)
        sorted_, touched = clean.sort().values, touched.contiguous()
        below = torch.searchsorted(sorted_, touched, right=False)
        upto = torch.searchsorted(sorted_, touched, right=True)
        value = float((below + upto).double().sum()) / (2 * n * m)
        return cls(value=value, clean=n, touched=m)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of Newcombe (2006), method 5: as Wilson's, by Hanley's and McNeil's error.

        It stays below 1 where no pair is out of order, as few images prove little.
        """
        low = _solved(self, upper=False)
        return low, _solved(self, upper=True)


def _solved(auc: Auc, *, upper: bool) -> float:
    """End of the interval: the area that by its own standard error is 1.96 of them away."""
    inside, outside = auc.value, 1.0 if upper else 0.0
    for _ in range(60):
        area = (inside + outside) / 2
        if abs(area - auc.value) > Z * _error(area, auc.clean, auc.touched):
            outside = area
        else:
            inside = area
    return (inside + outside) / 2


def _error(area: float, clean: int, touched: int) -> float:
    """Standard error of Hanley and McNeil (1982), with the mean of both numbers for each."""
    half = (clean + touched) / 2 - 1
    spread = 1 + half * ((1 - area) / (2 - area) + area / (1 + area))
    return sqrt(max(area * (1 - area) * spread / (clean * touched), 0.0))
