"""Details of evaluations as text, for tests that look for a number in its words."""

from collections.abc import Mapping

from fftune.outcomes import Outcomes
from fftune.report.attack_table import details
from fftune.report.defense_table import defense_details
from fftune.report.optimality import SearchKey
from fftune.report.terminal import plain

WIDE = 250
"""Columns that no line of a test needs more of: words are found whatever is wrapped."""


def table(outcomes: Outcomes, seconds: Mapping[SearchKey, float] | None = None) -> str:
    """Details of a battery."""
    return plain(details(outcomes, seconds), WIDE)


def defense_table(outcomes: Outcomes, seconds: Mapping[SearchKey, float] | None = None) -> str:
    """Details behind defenses."""
    return plain(defense_details(outcomes, seconds), WIDE)
