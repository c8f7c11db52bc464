"""Bound of a risk, under which a study looks for the best of the others."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fftune.config.validation import read_number, require, require_words
from fftune.errors import ConfigError
from fftune.registry import nearest

FORM = re.compile(r"\s*(\w+)\s*<=\s*(\S+)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Upper bound of a risk, on the split that selects. On a command line `natural_risk <= 0.12`.

    The search is told of it as an Optuna constraint: see `sweeping.optuna_study.tell`.
    """

    risk: str
    """Risk of the study, as in `natural_risk`."""
    most: float
    """Greatest risk that keeps the bound, in [0, 1]."""

    def __post_init__(self) -> None:
        try:
            require_words(self)
        except ConfigError as error:
            raise ConfigError(f"where: {error}") from None
        require(f"where: {self.risk}", 0 <= self.most <= 1, "at most a share in [0, 1]", self.most)

    @classmethod
    def parse(cls, text: str) -> "Bound":
        """Read a bound from a word, as `str` writes it.

        Raises:
            ConfigError: the word is no bound.
        """
        found = FORM.fullmatch(text)
        try:
            risk, most = found.groups() if found else ("", "")
            share = float(read_number(most))
        except ValueError:
            form = "RISK <= SHARE, as in 'natural_risk <= 0.12'"
            raise ConfigError(f"where must be {form}, got {text!r}") from None
        return cls(risk=risk, most=share)

    def __str__(self) -> str:
        return f"{self.risk} <= {self.most!r}"

    def excess(self, risks: Sequence[float], names: Sequence[str]) -> float:
        """Compute by how much a trial exceeds the bound; 0 or less keeps it.

        Args:
            risks: risks of the trial, in the order of `names`.
        """
        return risks[names.index(self.risk)] - self.most


def check_bounds(where: Sequence[Bound], risks: Sequence[str]) -> None:
    """Refuse bounds of what a study does not minimize, and two of one risk.

    Raises:
        ConfigError: the message names the risk.
    """
    for bound in where:
        if bound.risk not in risks:
            raise ConfigError(f"where: unknown risk {bound.risk!r}; {nearest(bound.risk, risks)}")
    bounded = [bound.risk for bound in where]
    require("where", len(set(bounded)) == len(bounded), "of distinct risks", bounded)
