"""Expected shares under a random defense, with intervals over images.

Several draws on one image are no independent examples: they are averaged first, and what varies
is the image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan, sqrt

from fftune.risk import Z, wilson


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """Ratio of means over images, sum of w_i s_i over sum of w_i.

    For a hypocritical risk w_i is the share of draws in which a defended net is wrong about the
    clean image i, and s_i the share of draws in which a false friend makes it look right.
    """

    value: float
    """The ratio, in [0, 1]; nan if all weights are 0."""
    weight: float
    """Sum of the weights: of how many images this is expected to be the share."""
    n: int
    """Images whose weight is above 0."""
    effective: float
    """Number of independent examples with weight 1 that would tell as much, at most (sum of w_i)^2
    over sum of w_i^2."""

    @classmethod
    def of(cls, shares: Sequence[float], weights: Sequence[float]) -> "Expectation":
        """Estimate from each image's share and weight, both in [0, 1].

        The variance is that of the delta method, taking images for independent.
        """
        pairs = [(s, w) for s, w in zip(shares, weights, strict=True) if w > 0]
        weight = sum(w for _, w in pairs)
        if not pairs:
            return cls(value=nan, weight=0.0, n=0, effective=0.0)
        value = min(sum(s * w for s, w in pairs) / weight, 1.0)
        spread = sum((w * (s - value)) ** 2 for s, w in pairs)
        most = weight**2 / sum(w**2 for _, w in pairs)
        # Where images hardly differ, few of them would otherwise prove that none do.
        told = weight**2 * value * (1 - value) / spread if spread else most
        return cls(value=value, weight=weight, n=len(pairs), effective=min(told, most))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval (low, high) over images: Wilson's at the effective number of examples.

        So it is done for proportions of surveys (Korn and Graubard 1998; Franco et al. 2019).
        With shares and weights of 0 and 1 it is that of `Rate`.
        """
        return wilson(self.value, self.effective)

    def __str__(self) -> str:
        if not self.n:
            return "undefined (n = 0)"
        low, high = self.interval
        return f"{self.value:.1%} (95 % CI {low:.1%} to {high:.1%}, {self.n:,} images)"


def plain_expectation(found: Expectation) -> dict[str, float | int | None]:
    """Convert to plain JSON; an undefined one becomes null, since JSON has no nan."""
    if not found.n:
        return {"weight": 0.0, "n": 0, "value": None, "low": None, "high": None}
    low, high = found.interval
    known = {"value": found.value, "low": low, "high": high}
    return {"weight": found.weight, "n": found.n, **known}


def means(found: Mapping[str, Expectation]) -> dict[str, float]:
    """Values of those that are defined, for charts of MLflow."""
    return {name: one.value for name, one in found.items() if one.n}


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanGain:
    """Mean of differences in [-1, 1] on the same n images, with a 95 % interval over them."""

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, differences: Sequence[float]) -> "MeanGain":
        """Average, with the interval of Agresti & Min (2005); nan without any.

        It counts two images more: half a gained, half a lost and one unchanged. Without them a few
        images that nothing changes would prove that nothing ever does.
        """
        n = len(differences)
        if not n:
            return cls(value=nan, low=nan, high=nan, n=0)
        total, more = sum(differences), n + 2
        middle = total / more
        square = (sum(one**2 for one in differences) + 1) / more
        half = Z * sqrt((square - middle**2) / more)
        return cls(value=total / n, low=max(middle - half, -1), high=min(middle + half, 1), n=n)

    def __str__(self) -> str:
        if not self.n:
            return "undefined (n = 0)"
        return (
            f"{100 * self.value:+.1f} points (95 % CI {100 * self.low:+.1f} to "
            f"{100 * self.high:+.1f}, n = {self.n:,})"
        )
