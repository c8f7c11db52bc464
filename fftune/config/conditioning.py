"""Settings of one net for all weights lambda."""

from dataclasses import dataclass

from fftune.config.validation import require, require_words

TWO = 2
"""Rows of an image's size that BatchNorm needs, where its last maps are a single pixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning:
    """Dependence of a net on lambda; see `models.conditional`."""

    top: float = 100.0
    """Greatest lambda that it is trained for, > 0."""
    norms: int = 2
    """BatchNorms a layer, 1 or 2: with 2, lambda = 0 has one of its own."""

    def __post_init__(self) -> None:
        require_words(self)
        require("top", self.top > 0, "> 0", self.top)
        require("norms", self.norms in (1, 2), "1 or 2", self.norms)


@dataclass(frozen=True, slots=True, kw_only=True)
class LambdaDraws:
    """Distribution of the lambdas of a batch, for objectives that train one net for all.

    A share of the batch has lambda 0 and a share the greatest one; the others lie evenly on
    log(1 + lambda) between, one to each of as many equal stretches, at random inside it.
    """

    zeros: float = 0.2
    """Share of examples at lambda = 0, in [0, 1): they are not perturbed."""
    tops: float = 0.2
    """Share of examples at the greatest lambda, in [0, 1)."""
    norms: int = 2
    """BatchNorms a layer, 1 or 2: with 2, the share at lambda = 0 has one of its own, as in Wang et
    al. 2020."""

    def __post_init__(self) -> None:
        require_words(self)
        for name in ("zeros", "tops"):
            require(name, 0 <= getattr(self, name) < 1, "in [0, 1)", getattr(self, name))
        total = self.zeros + self.tops
        require("tops", total <= 1, f"at most {1 - self.zeros:g}, beside zeros", self.tops)
        require("norms", self.norms in (1, 2), "1 or 2", self.norms)

    def clean_rows(self, size: int) -> int:
        """Number of rows at lambda = 0 in a batch: 0 rather than 1, of which BatchNorm is none."""
        rows = round(self.zeros * size)
        return rows if rows >= TWO else 0
